/** The messages of ONNX that hopgrad writes. @source onnx/onnx.proto, ONNX 1.13 (IR version 8) */
import { PbfWriter } from 'pbf';
import type { Bytes } from '../tensor/bytes.js';
import type { DType } from '../tensor/dtype.js';
import type { Size } from './trace.js';

export type Attribute = number | string | readonly number[] | { float: number };

export interface NodeProto {
  type: string;
  inputs: readonly string[];
  outputs: readonly string[];
  attributes: Record<string, Attribute>;
}

export interface TensorProto {
  name: string;
  type: ElementType;
  dims: readonly number[];
  /** Little-endian. */
  bytes: Uint8Array;
}

export interface ValueProto {
  name: string;
  type: ElementType;
  sizes: readonly Size[];
}

export interface GraphProto {
  name: string;
  nodes: readonly NodeProto[];
  initializers: readonly TensorProto[];
  inputs: readonly ValueProto[];
  outputs: readonly ValueProto[];
}

/** TensorProto.DataType. */
export const elementTypes = { float32: 1, int32: 6, int64: 7, bool: 9, float64: 11 } as const;
export type ElementType = DType | 'int64' | 'bool';

/** The version of the operators that are used; LayerNormalization is of 17, axes as an input of ReduceMax of 18. */
export const opset = 18;

/** AttributeProto.AttributeType. */
const kinds = { float: 1, int: 2, string: 3, ints: 7 } as const;

function writeAttribute([name, value]: [string, Attribute], pbf: PbfWriter): void {
  pbf.writeStringField(1, name);
  let kind: number;
  if (typeof value === 'number') {
    pbf.writeVarintField(3, value);
    kind = kinds.int;
  } else if (typeof value === 'string') {
    pbf.writeStringField(4, value);
    kind = kinds.string;
  } else if (Array.isArray(value)) {
    for (const n of value) pbf.writeVarintField(8, n);
    kind = kinds.ints;
  } else {
    pbf.writeFloatField(2, (value as { float: number }).float);
    kind = kinds.float;
  }
  pbf.writeVarintField(20, kind);
}

function writeNode({ type, inputs, outputs, attributes }: NodeProto, pbf: PbfWriter): void {
  for (const name of inputs) pbf.writeStringField(1, name);
  for (const name of outputs) pbf.writeStringField(2, name);
  pbf.writeStringField(3, `${type}: ${outputs[0]}`);
  pbf.writeStringField(4, type);
  for (const entry of Object.entries(attributes)) pbf.writeMessage(5, writeAttribute, entry);
}

function writeTensor({ name, type, dims, bytes }: TensorProto, pbf: PbfWriter): void {
  for (const n of dims) pbf.writeVarintField(1, n);
  pbf.writeVarintField(2, elementTypes[type]);
  pbf.writeStringField(8, name);
  pbf.writeBytesField(9, bytes);
}

function writeSize(size: Size, pbf: PbfWriter): void {
  if (typeof size === 'number') pbf.writeVarintField(1, size);
  else pbf.writeStringField(2, size.perRow === 1 ? 'batch' : `${size.perRow}*batch`);
}

function writeShape(sizes: readonly Size[], pbf: PbfWriter): void {
  for (const size of sizes) pbf.writeMessage(1, writeSize, size);
}

function writeTensorType({ type, sizes }: ValueProto, pbf: PbfWriter): void {
  pbf.writeVarintField(1, elementTypes[type]);
  pbf.writeMessage(2, writeShape, sizes);
}

function writeValue(value: ValueProto, pbf: PbfWriter): void {
  pbf.writeStringField(1, value.name);
  pbf.writeMessage(2, (v: ValueProto, inner) => inner.writeMessage(1, writeTensorType, v), value);
}

function writeGraph({ name, nodes, initializers, inputs, outputs }: GraphProto, pbf: PbfWriter): void {
  for (const node of nodes) pbf.writeMessage(1, writeNode, node);
  pbf.writeStringField(2, name);
  for (const tensor of initializers) pbf.writeMessage(5, writeTensor, tensor);
  for (const value of inputs) pbf.writeMessage(11, writeValue, value);
  for (const value of outputs) pbf.writeMessage(12, writeValue, value);
}

function writeOpset(version: number, pbf: PbfWriter): void {
  pbf.writeStringField(1, ''); // ONNX's own operators
  pbf.writeVarintField(2, version);
}

/** The bytes of a file of ONNX. */
export function modelBytes(graph: GraphProto): Bytes {
  const pbf = new PbfWriter();
  pbf.writeVarintField(1, 8); // IR version
  pbf.writeStringField(2, 'hopgrad');
  pbf.writeMessage(8, writeOpset, opset);
  pbf.writeMessage(7, writeGraph, graph);
  return pbf.finish().slice();
}
