'use strict';
(() => {
  const all = (selector) => [...document.querySelectorAll(selector)];
  const spans = all('details.span');
  for (const button of all('button[hidden]')) {
    const isNext = button.dataset.toggle === 'error';
    button.hidden = isNext && !document.querySelector('.span.error');
  }

  // Moves among rows: traces of the list, or spans of the waterfall.
  const rows = all('a[data-row], details.span > summary');
  const move = (step) => {
    const at = rows.indexOf(document.activeElement);
    const next = rows[at < 0 ? 0 : Math.min(rows.length - 1, Math.max(0, at + step))];
    if (next) next.focus();
  };
  const nextError = () => {
    const errors = spans.filter((span) => span.classList.contains('error'));
    const at = spans.findIndex((span) => span.contains(document.activeElement));
    const next = errors.find((span) => spans.indexOf(span) > at) ?? errors[0];
    if (!next) return;
    next.open = true;
    next.firstElementChild.focus();
    next.scrollIntoView({ block: 'center' });
  };
  const toggleAll = () => {
    const open = spans.some((span) => !span.open);
    for (const span of spans) span.open = open;
  };

  document.addEventListener('click', async (event) => {
    const button = event.target.closest('button');
    if (!button) return;
    if (button.dataset.toggle === 'all') toggleAll();
    if (button.dataset.toggle === 'error') nextError();
    if (button.dataset.copy) {
      const text = document.getElementById(button.dataset.copy).textContent;
      try {
        await navigator.clipboard.writeText(text);
        button.textContent = 'Copied';
      } catch {
        button.textContent = 'Not allowed';
      }
    }
  });
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.matches('input, select, textarea')) return;
    const search = document.querySelector('[data-focus]');
    if (event.key === 'j') move(1);
    else if (event.key === 'k') move(-1);
    else if (event.key === 'e') nextError();
    else if (event.key === 'o' && spans.length) toggleAll();
    else if (event.key === '/' && search) search.focus();
    else return;
    event.preventDefault();
  });
  for (const select of all('.filters select, .filters input[type=checkbox]')) {
    select.addEventListener('change', () => select.form.requestSubmit());
  }
})();
