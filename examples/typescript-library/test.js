import { randn } from 'hopgrad';
import { assertGradients } from 'hopgrad/testing';
import { GatedLinear } from './dist/index.js';

const layer = new GatedLinear(3, 2);
const x = randn([4, 3], { seed: 1 });
console.log(layer.forward(x).shape, layer.parameters().length); // [ 4, 2 ] 4
await assertGradients((input) => input.sigmoid().mul(input), [randn([2, 3], { seed: 2, dtype: 'float64' })]);
console.log('gradients are right');
