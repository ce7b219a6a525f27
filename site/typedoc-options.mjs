// What TypeDoc is told beside its options.
import { Comment, Converter, ReflectionKind } from 'typedoc';

export function load(app) {
  // A destructured parameter is __namedParameters to TypeDoc, and @param lines of its members are passed over: here it
  // is `options`, and they are `options.member`.
  app.converter.on(
    Converter.EVENT_RESOLVE,
    (_, signature) => {
      const destructured = signature.parameters?.find(({ name }) => name === '__namedParameters');
      if (!destructured) return;
      destructured.name = 'options';
      const names = signature.parameters.map(({ name }) => name);
      for (const tag of signature.comment?.blockTags ?? [])
        if (tag.tag === '@param' && !names.includes(tag.name)) tag.name = `options.${tag.name}`;
    },
    10_000,
  );

  app.converter.on(Converter.EVENT_RESOLVE_BEGIN, ({ project }) => {
    const functions = new Map(
      project.getReflectionsByKind(ReflectionKind.Function).map((reflection) => [reflection.name, reflection]),
    );
    for (const member of project.getReflectionsByKind(ReflectionKind.Property)) {
      // The methods that ops give to tensors are declared as properties; their functions are documented.
      if (member.parent?.name !== 'Tensor') continue;
      const same = functions.get(member.name);
      // The tensor is the first argument: where the function has no other, an empty list of further ones is left.
      for (const signature of member.type?.declaration?.signatures ?? [])
        signature.parameters = signature.parameters?.filter(
          ({ flags, type }) => !(flags.isRest && type?.type === 'tuple' && type.elements.length === 0),
        );
      if (!same || member.comment) continue;
      const link = { kind: 'inline-tag', tag: '@link', text: member.name, target: same };
      member.comment = new Comment([
        { kind: 'text', text: 'The function ' },
        link,
        { kind: 'text', text: ' of this.' },
      ]);
    }
  });

  // What a class inherits is described where it is declared.
  app.converter.on(
    Converter.EVENT_RESOLVE_END,
    ({ project }) => {
      const kinds = ReflectionKind.Property | ReflectionKind.Method | ReflectionKind.Accessor;
      // The interfaces through which ops give tensors their methods are nobody's business but the compiler's.
      for (const tensor of project.getReflectionsByKind(ReflectionKind.Class))
        if (tensor.name === 'Tensor') tensor.extendedTypes = undefined;
      for (const member of project.getReflectionsByKind(kinds))
        if (member.inheritedFrom && member.parent) project.removeReflection(member);
    },
    10_000,
  );
}
