// The search page: Pagefind over all pages, the words in the address.
const words = new URLSearchParams(location.search).get('q') ?? '';
const ui = new window.PagefindUI({
  element: '#results',
  showSubResults: true,
  showImages: false,
  autofocus: words === '',
});
if (words) ui.triggerSearch(words);
