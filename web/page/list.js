// List of tracks: only the rows in view are elements, and they are reused, so that a click that begins on a row ends
// on it although the list changes meanwhile.

import { at, clock, element, plural, setText } from './dom.js';
import { ordered } from './order.js';

const ROW = 48;

export class List {
  #tracks;
  #actions;
  #order = [];
  #slots = [];
  #labels = null;
  #selected = null;

  filter = { text: '', tag: -1, least: 0.1, sort: 'added', isReversed: false };

  /// `actions`: `select(track)`, `open(track)`, `remove(track)`, `play()`.
  constructor(tracks, actions) {
    this.#tracks = tracks;
    this.#actions = actions;
    const list = at('list');
    list.addEventListener('scroll', () => this.#draw());
    list.addEventListener('keydown', event => this.#key(event));
    at('rows').addEventListener('click', event => {
      const row = event.target.closest('.row');
      if (row) actions.open(row.track);
    });
    new ResizeObserver(() => this.#draw()).observe(list);
    at('search').addEventListener('input', () => this.#change({ text: at('search').value }));
    at('search').addEventListener('keydown', event => {
      if (event.key === 'ArrowDown' && this.#order.length) {
        event.preventDefault();
        list.focus();
        this.#go(0);
      }
    });
    at('tag').addEventListener('change', () => this.setTag(at('tag').value === '' ? -1 : Number(at('tag').value)));
    at('least').addEventListener('input', () => this.#change({ least: Number(at('least').value) }));
    at('sort').addEventListener('change', () => this.#change({ sort: at('sort').value, isReversed: false }));
    at('direction').addEventListener('click', () => this.#change({ isReversed: !this.filter.isReversed }));
  }

  /// Filters by a tag, -1 for any. The list is then in the order of its score.
  setTag(tag) {
    const sort = tag >= 0 ? 'score' : this.filter.sort === 'score' ? 'added' : this.filter.sort;
    this.#change({ tag, sort, isReversed: false });
  }

  #change(change) {
    Object.assign(this.filter, change);
    at('list').scrollTop = 0;
    this.render();
  }

  render() {
    const { filter } = this;
    if (this.#labels !== this.#tracks.labels) {
      this.#labels = this.#tracks.labels;
      const byName = [...this.#labels.keys()].sort((a, b) => this.#labels[a].localeCompare(this.#labels[b], 'en'));
      at('tag').replaceChildren(
        element('option', { value: '', textContent: 'Any tag' }),
        ...byName.map(label => element('option', { value: label, textContent: this.#labels[label] })),
      );
      if (filter.tag >= this.#labels.length) filter.tag = -1;
    }
    at('tag').value = filter.tag < 0 ? '' : filter.tag;
    at('sort').value = filter.sort;
    at('direction').setAttribute('aria-pressed', filter.isReversed);
    setText(at('direction'), filter.isReversed ? '↑' : '↓');
    at('least-field').hidden = filter.tag < 0;
    setText(at('least-value'), filter.least.toFixed(2));
    this.#order = ordered(this.#tracks.list, filter);
    const all = this.#tracks.list.length,
      shown = this.#order.length;
    setText(
      at('count'),
      shown === all ? plural(all, 'track') : `${shown.toLocaleString('en')} of ${plural(all, 'track')}`,
    );
    at('space').style.height = `${shown * ROW}px`;
    if (this.#selected !== this.#tracks.selected) {
      this.#selected = this.#tracks.selected;
      this.#reveal();
    }
    this.#draw();
  }

  /// Scrolls to the selected track.
  #reveal() {
    const place = this.#order.indexOf(this.#selected),
      list = at('list');
    if (place < 0) return;
    if (place * ROW < list.scrollTop) list.scrollTop = place * ROW;
    else if ((place + 1) * ROW > list.scrollTop + list.clientHeight)
      list.scrollTop = (place + 1) * ROW - list.clientHeight;
  }

  #draw() {
    const list = at('list');
    const first = Math.max(0, Math.floor(list.scrollTop / ROW) - 3);
    const last = Math.min(this.#order.length, first + Math.ceil(list.clientHeight / ROW) + 6);
    at('rows').style.top = `${first * ROW}px`;
    while (this.#slots.length < last - first) this.#slots.push(this.#slot());
    while (this.#slots.length > Math.max(0, last - first)) this.#slots.pop().remove();
    let active = '';
    this.#slots.forEach((row, i) => {
      const track = this.#order[first + i],
        isSelected = track === this.#tracks.selected;
      row.track = track;
      row.id = `track-${track.id}`;
      if (isSelected) active = row.id;
      row.setAttribute('aria-selected', isSelected);
      row.setAttribute('aria-posinset', first + i + 1);
      row.setAttribute('aria-setsize', this.#order.length);
      row.dataset.state = track.state;
      row.title = track.path;
      setText(row.children[0], track.name);
      setText(row.children[1], clock(track.result?.seconds));
      setText(row.children[2], this.#summary(track));
      const score = track.result && this.filter.tag >= 0 ? track.result.scores[this.filter.tag] : null;
      setText(row.children[3], score === null ? '' : score.toFixed(2));
      row.style.setProperty('--part', track.state === 'running' ? track.progress : 0);
    });
    if (active) list.setAttribute('aria-activedescendant', active);
    else list.removeAttribute('aria-activedescendant');
  }

  #slot() {
    const row = element(
      'div',
      { className: 'row' },
      element('span', { className: 'name', dir: 'auto' }),
      element('span', { className: 'time' }),
      element('span', { className: 'of' }),
      element('span', { className: 'time' }),
    );
    row.setAttribute('role', 'option');
    at('rows').append(row);
    return row;
  }

  #summary({ state, progress, error, result }) {
    if (state === 'done')
      return result.best
        .slice(0, 4)
        .map(label => `${this.#tracks.labels[label]} ${result.scores[label].toFixed(2)}`)
        .join(', ');
    if (state === 'failed') return `Not tagged: ${error.message}`;
    if (state === 'running') return `Tagging, ${Math.round(100 * progress)} %`;
    return state === 'cancelled' ? 'Cancelled' : 'Waiting';
  }

  #go(place) {
    const track = this.#order[Math.max(0, Math.min(this.#order.length - 1, place))];
    if (track) this.#actions.select(track);
  }

  #key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const place = this.#order.indexOf(this.#tracks.selected),
      page = Math.max(1, Math.floor(at('list').clientHeight / ROW) - 1);
    const moves = {
      ArrowDown: place + 1,
      ArrowUp: place - 1,
      PageDown: place + page,
      PageUp: place - page,
      Home: 0,
      End: this.#order.length,
    };
    if (event.key in moves) this.#go(moves[event.key]);
    else if (event.key === 'Enter' || event.key === ' ') this.#actions.play();
    else if (event.key === 'Delete' && place >= 0) {
      const track = this.#order[place];
      this.#go(place + 1 < this.#order.length ? place + 1 : place - 1);
      this.#actions.remove(track);
    } else return;
    event.preventDefault();
  }
}
