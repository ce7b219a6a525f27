/** The model that another is to learn from. */

import { noGrad } from '../autograd/graph.js';
import type { Tensor } from '../autograd/tensor.js';
import type { Group } from '../distributed/group.js';
import type { Pairs } from '../distributed/losses.js';
import { loadCheckpoint } from '../models/cloob/checkpoint.js';
import { preprocessing } from '../models/cloob/config.js';
import type { CloobModel } from '../models/cloob/model.js';
import type { ClipTokenizer } from '../models/cloob/tokenizer.js';
import { distillationOf, similarities } from '../nn/losses.js';
import { UsageError } from '../tensor/errors.js';
import type { Inputs } from './learner.js';
import { weightsDigest } from './weights-digest.js';

/** A trained model in evaluation mode, which sees the pictures and token ids that the student sees. */
export class Teacher {
  readonly #model: CloobModel;

  /** Of its weights: a run that goes on must learn from the same. */
  readonly digest: string;

  private constructor(model: CloobModel, digest: string) {
    this.digest = digest;
    this.#model = model.eval();
    model.requiresGrad_(false);
  }

  /**
   * Reads the teacher of a student.
   * @throws UsageError when it needs other pictures or ids than the student; what {@link loadCheckpoint} throws
   */
  static async load(path: string, student: { model: CloobModel; tokenizer: ClipTokenizer }): Promise<Teacher> {
    const { device, dtype } = student.model.logit_inv_tau;
    const { model, tokenizer } = await loadCheckpoint(path, { device, dtype });
    const [own, theirs] = [model.config, student.model.config];
    const refuse = (what: string, expected: string): never => {
      throw new UsageError('train', {
        received: `--distill-from ${path}, ${what}`,
        expected,
        hint: 'Teacher and student see the same numbers; --image-size and --context-length change the student.',
      });
    };
    const pictures = (config: typeof own) => JSON.stringify(preprocessing(config));
    if (pictures(own) !== pictures(theirs))
      refuse(`which takes pictures as ${pictures(own)}`, `pictures as ${pictures(theirs)}`);
    if (!tokenizer || tokenizer.tokens.join('\n') !== student.tokenizer.tokens.join('\n'))
      refuse('whose vocabulary is another', 'the same vocabulary');
    if (own.context_length < theirs.context_length)
      refuse(`which reads ${own.context_length} tokens`, `at least the ${theirs.context_length} of the student`);
    return new Teacher(model, await weightsDigest(model));
  }

  /**
   * What the student loses by thinking otherwise: {@link distillationLoss}, where the batch is spread over ranks of this rank's pairs
   * among those of all.
   * @param all the student's embeddings of all ranks
   */
  loss(
    { image, text }: Inputs,
    { images, texts, invTau, all, group }: Pairs & { invTau: number | Tensor; all: Pairs; group: Group },
    microBatch: number | null,
  ): Tensor {
    const model = this.#model;
    const teacher = noGrad(() => {
      const own = {
        images: model.encodeImage(image, { microBatch }).l2Normalize(),
        texts: model.encodeText(text, { microBatch }).l2Normalize(),
      };
      const theirs = { images: group.allGather(own.images), texts: group.allGather(own.texts) };
      return logitsOf(own, theirs, model.invTau());
    });
    return distillationOf(logitsOf({ images, texts }, all, invTau), teacher);
  }
}

const logitsOf = ({ images, texts }: Pairs, all: Pairs, invTau: number | Tensor) => ({
  image: similarities(images, all.texts).mul(invTau),
  text: similarities(texts, all.images).mul(invTau),
});
