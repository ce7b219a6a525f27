// The search page: Pagefind over all pages, the words in the address.
const words = new URLSearchParams(location.search).get('q') ?? '';
const ui = new window.PagefindUI({
  element: '#results',
  showSubResults: true,
  showImages: false,
  autofocus: words === '',
});
document.querySelector('.pagefind-ui__search-input').setAttribute('aria-label', 'Search this site');
if (words) ui.triggerSearch(words);
