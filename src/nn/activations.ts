/** Activations as layers, for {@link Sequential}: each calls the tensor's method or says its equation. */
import type { Tensor } from '../autograd/tensor.js';
import { DomainError } from '../tensor/errors.js';
import { Module } from './module.js';

/** y = max(x, 0). */
export class ReLU extends Module {
  /** The activation of every element; shapes stay. */
  forward(x: Tensor): Tensor {
    return x.relu();
  }
}

/** y = x for x > 0, slope · x below; slope 0.01 by default. @source Maas et al. 2013, "Rectifier nonlinearities" */
export class LeakyReLU extends Module {
  /** @throws DomainError for a slope outside [0, 1) */
  constructor(readonly slope = 0.01) {
    super();
    if (!(slope >= 0 && slope < 1))
      throw new DomainError('LeakyReLU', { received: `slope ${slope}`, expected: 'a number in [0, 1)' });
  }
  /** The activation of every element; shapes stay. */
  forward(x: Tensor): Tensor {
    return x.relu().sub(x.neg().relu().mul(this.slope));
  }
}

/** y = x Φ(x), Φ the normal distribution. @source Hendrycks & Gimpel 2016, arXiv 1606.08415 */
export class GELU extends Module {
  /** The activation of every element; shapes stay. */
  forward(x: Tensor): Tensor {
    return x.gelu();
  }
}

/** y = x σ(1.702 x): the GELU of CLIP and CLOOB. */
export class QuickGELU extends Module {
  /** The activation of every element; shapes stay. */
  forward(x: Tensor): Tensor {
    return x.quickGelu();
  }
}

/** y = x σ(x), also called swish. @source Elfwing et al. 2018, arXiv 1702.03118 */
export class SiLU extends Module {
  /** The activation of every element; shapes stay. */
  forward(x: Tensor): Tensor {
    return x.mul(x.sigmoid());
  }
}

/** y = 1 / (1 + e⁻ˣ). */
export class Sigmoid extends Module {
  /** The activation of every element; shapes stay. */
  forward(x: Tensor): Tensor {
    return x.sigmoid();
  }
}

/** y = tanh x. */
export class Tanh extends Module {
  /** The activation of every element; shapes stay. */
  forward(x: Tensor): Tensor {
    return x.tanh();
  }
}

/** y = ln(1 + eˣ). */
export class Softplus extends Module {
  /** The activation of every element; shapes stay. */
  forward(x: Tensor): Tensor {
    return x.softplus();
  }
}

/** y = eˣ / Σ eˣ along an axis, by default the last. */
export class Softmax extends Module {
  constructor(readonly axis = -1) {
    super();
  }
  /** The activation of every element; shapes stay. */
  forward(x: Tensor): Tensor {
    return x.softmax({ axis: this.axis });
  }
}
