/** How a run is carried out, as one table: the second half of what can be chosen about a training. */
import { choice, folder, notNegative, type Option, share, whole } from './option-kinds.js';
import { type MetricName, metricNames } from './validate.js';

/** How a run is carried out: stored as well, but it may be chosen anew when the run goes on. */
export interface RunSettings {
  /** Threads that read pictures; null: one fewer than processors. */
  workers: number | null;
  /** Largest tolerated share of broken rows. */
  maxBadShare: number;
  /** Folder for prepared data. */
  cache: string;
  /** Epochs between checkpoints; 0: none because of epochs. */
  saveFrequency: number;
  /** Steps between checkpoints; 0: none because of steps. */
  saveSteps: number;
  /** Minutes between checkpoints; 0: none because of time. */
  saveMinutes: number;
  /** Checkpoints kept, the newest. */
  keepCheckpoints: number;
  /** Epochs between validations, where there are data to choose by; 0: none. */
  valFrequency: number;
  /** What the best checkpoint is chosen by. */
  bestMetric: MetricName;
  /** Validations without a better one after which the training ends; null: it goes on to its end. */
  patience: number | null;
  /** What to do at a loss or gradient that is not finite: end the training, or pass over the step. */
  onNan: 'stop' | 'skip';
  /** Steps between measurements of the embeddings for the log. */
  logEveryNSteps: number;
  /** Where the numbers of the log go besides. */
  reportTo: 'tensorboard' | null;
  /** Steps between comparisons of the weights of all ranks; 0: at the start and at checkpoints only. */
  checkRanks: number;
}

const [run, data] = ['Run', 'Data'] as const;

export const settingsTable: Record<keyof RunSettings, Option> = {
  workers: {
    group: data,
    kind: whole(0, 1024),
    mark: 'n',
    help: 'threads that read pictures',
    whenNull: 'one fewer than processors',
  },
  maxBadShare: { group: data, kind: share, mark: 'n', help: 'largest tolerated share of broken rows' },
  cache: { group: data, kind: folder, mark: 'folder', help: 'folder for prepared data' },
  saveFrequency: { group: run, kind: whole(0), mark: 'epochs', help: 'epochs between checkpoints, 0: none by epochs' },
  saveSteps: { group: run, kind: whole(0), mark: 'n', help: 'steps between checkpoints, 0: none by steps' },
  saveMinutes: { group: run, kind: notNegative, mark: 'n', help: 'minutes between checkpoints, 0: none by time' },
  keepCheckpoints: { group: run, kind: whole(1, 1e6), mark: 'n', help: 'checkpoints kept, the newest' },
  valFrequency: {
    group: run,
    kind: whole(0),
    mark: 'epochs',
    help: 'epochs between validations on --val-data, or of the emoji by --validation; 0: none',
  },
  bestMetric: {
    group: run,
    kind: choice(metricNames),
    mark: 'name',
    help: 'what validation chooses the best checkpoint by, kept as checkpoints/best',
  },
  patience: {
    group: run,
    kind: whole(1),
    mark: 'n',
    help: 'stop early after this many validations without a better one',
    whenNull: 'never',
  },
  onNan: {
    group: run,
    kind: choice(['stop', 'skip']),
    mark: 'what',
    help: 'at a loss or gradient that is not finite: stop, or skip the step, which changes nothing then',
  },
  logEveryNSteps: {
    group: run,
    kind: whole(1),
    mark: 'n',
    help: 'steps between measurements of the embeddings (similarities, p₁, patterns) for the log',
  },
  reportTo: {
    group: run,
    kind: choice(['tensorboard']),
    mark: 'what',
    help: 'write event files of TensorBoard beside the log',
    whenNull: 'the log alone',
  },
  checkRanks: {
    group: run,
    kind: whole(0),
    mark: 'n',
    help: 'steps between comparisons of the weights of all ranks; 0: only at the start and at checkpoints',
  },
};

export const defaultSettings: RunSettings = {
  workers: null,
  maxBadShare: 0.1,
  cache: '.cache',
  saveFrequency: 5,
  saveSteps: 0,
  saveMinutes: 10,
  keepCheckpoints: 3,
  valFrequency: 1,
  bestMetric: 'mean-recall',
  patience: null,
  onNan: 'stop',
  logEveryNSteps: 1,
  reportTo: null,
  checkRanks: 100,
};
