// Filter and order of the list.

const compare = new Intl.Collator('en', { numeric: true, sensitivity: 'base' }).compare;

/// Tracks that pass the filter, in the chosen order. `tag` is an index of a label, or -1 for any.
export function ordered(tracks, { text, tag, least, sort, isReversed }) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const passes = track => {
    if (tag >= 0 && !(track.result?.scores[tag] >= least)) return false;
    if (!words.length) return true;
    const path = track.path.toLowerCase();
    return words.every(word => path.includes(word));
  };
  const score = track => (track.result ? track.result.scores[tag >= 0 ? tag : track.result.best[0]] : -1);
  const orders = {
    added: (a, b) => a.id - b.id,
    name: (a, b) => compare(a.name, b.name) || a.id - b.id,
    length: (a, b) => (a.result?.seconds ?? -1) - (b.result?.seconds ?? -1) || a.id - b.id,
    score: (a, b) => score(b) - score(a) || a.id - b.id,
  };
  const found = tracks.filter(passes).sort(orders[sort]);
  return isReversed ? found.reverse() : found;
}
