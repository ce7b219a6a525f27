export const equationsPage = () => ({
  url: 'equations.html',
  title: 'Equations',
  section: 'chapters',
  source: 'site/equations.html',
  markdown: '# Equations\n',
});
