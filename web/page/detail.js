// The selected track: facts, player, time line, tags as bars, similar tracks.

import { at, clock, element, plural, setText } from './dom.js';
import { FEWEST, similarTo } from './similar.js';
import { Timeline } from './timeline.js';

const BARS = 10;
const SIMILAR = 8;

export class Detail {
  #tracks;
  #actions;
  #timeline = new Timeline();
  #shown = null;
  #shownState = null;
  #shownResult = null;
  #shownCount = -1;
  #showsAll = false;

  /// `actions`: `select(track)`, `filter(tag)`, `retry(track)`, `remove(track)`.
  constructor(tracks, actions) {
    this.#tracks = tracks;
    this.#actions = actions;
    at('retry').addEventListener('click', () => actions.retry(this.#shown));
    at('remove').addEventListener('click', () => actions.remove(this.#shown));
    at('all-tags').addEventListener('click', () => {
      this.#showsAll = !this.#showsAll;
      this.#bars();
    });
  }

  toggle() {
    if (this.#shown) this.#timeline.toggle();
  }

  render() {
    const track = this.#tracks.selected;
    at('detail').hidden = !track;
    const done = this.#tracks.list.reduce((count, other) => count + (other.state === 'done'), 0);
    const isSame = track === this.#shown && track?.state === this.#shownState && track?.result === this.#shownResult;
    if (isSame) {
      if (track?.result && done !== this.#shownCount) this.#similar(done);
      return;
    }
    this.#shown = track;
    this.#shownState = track?.state;
    this.#shownResult = track?.result;
    this.#timeline.listenTo(track?.file ?? null);
    if (!track) return;
    setText(at('detail-name'), track.name);
    setText(at('detail-facts'), this.#facts(track));
    at('detail-problem').hidden = track.state !== 'failed' && track.state !== 'cancelled';
    setText(at('problem-text'), track.error ? `Not tagged: ${track.error.message}` : 'Tagging was cancelled.');
    setText(at('problem-advice'), track.error?.advice ?? '');
    const warnings = track.result?.warnings ?? [];
    at('detail-warnings').hidden = !warnings.length;
    at('detail-warnings').replaceChildren(...warnings.map(text => element('li', { textContent: text })));
    at('timeline-section').hidden = at('columns').hidden = !track.result;
    if (!track.result) return;
    this.#timeline.show(track.result, this.#tracks.labels);
    this.#bars();
    this.#similar(done);
  }

  #facts({ state, path, name, result }) {
    const folder = path === name ? '' : path.slice(0, path.lastIndexOf('/'));
    if (!result)
      return [folder, { waiting: 'waiting to be tagged', running: 'being tagged' }[state]].filter(Boolean).join(' · ');
    const device = result.device === 'webgpu' ? 'GPU' : 'CPU';
    return [folder, clock(result.seconds), plural(result.clips.length, 'clip'), `tagged by the ${device}`]
      .filter(Boolean)
      .join(' · ');
  }

  #bars() {
    const { scores, best } = this.#shown.result,
      { labels } = this.#tracks;
    const shown = this.#showsAll ? best : best.slice(0, BARS);
    at('bars').replaceChildren(
      ...shown.map(label => {
        const bar = element('span', { className: 'bar' }, element('i'));
        bar.firstChild.style.width = `${100 * scores[label]}%`;
        const button = element(
          'button',
          { title: `Tracks with the tag ${labels[label]}` },
          element('span', { textContent: labels[label] }),
          bar,
          element('span', { className: 'number', textContent: scores[label].toFixed(2) }),
        );
        button.addEventListener('click', () => this.#actions.filter(label));
        return element('li', {}, button);
      }),
    );
    at('all-tags').hidden = best.length <= BARS;
    at('all-tags').setAttribute('aria-expanded', this.#showsAll);
    setText(at('all-tags'), this.#showsAll ? 'Show fewer tags' : `Show all ${best.length} tags`);
  }

  #similar(done) {
    this.#shownCount = done;
    const found = similarTo(this.#shown, this.#tracks.list, SIMILAR);
    setText(
      at('similar-note'),
      done < FEWEST
        ? `Add ${plural(FEWEST - done, 'more track')} to see which are alike.`
        : '1: alike, 0: unrelated, -1: opposite.',
    );
    // Buttons are reused, so that the focus stays while more tracks are tagged.
    const list = at('similar');
    while (list.children.length > found.length) list.lastChild.remove();
    while (list.children.length < found.length) {
      const button = element('button', {}, element('span', { dir: 'auto' }), element('span', { className: 'number' }));
      button.addEventListener('click', () => this.#actions.select(button.track));
      list.append(element('li', {}, button));
    }
    found.forEach(({ track, similarity }, i) => {
      const button = list.children[i].firstChild;
      button.track = track;
      button.title = track.path;
      setText(button.firstChild, track.name);
      setText(button.lastChild, similarity.toFixed(2));
    });
  }
}
