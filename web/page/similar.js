// Similar tracks: cosine of embeddings after subtracting their mean over all tracks. Without the subtraction all
// tracks are alike, because embeddings share most of their direction.

/// Fewest tracks that say something: of two, each is always the opposite of the other.
export const FEWEST = 3;

/// The `count` tracks most similar to `track`, as `{ track, similarity }`, most similar first.
export function similarTo(track, tracks, count) {
  const known = tracks.filter(other => other.result?.embedding);
  if (known.length < FEWEST || !track.result?.embedding) return [];
  const size = track.result.embedding.length,
    mean = new Float64Array(size);
  for (const other of known) for (let i = 0; i < size; i++) mean[i] += other.result.embedding[i] / known.length;
  const length = vector => {
    let sum = 0;
    for (let i = 0; i < size; i++) sum += (vector[i] - mean[i]) ** 2;
    return Math.sqrt(sum);
  };
  const own = track.result.embedding,
    ownLength = length(own);
  const found = known
    .filter(other => other !== track)
    .map(other => {
      const vector = other.result.embedding;
      let dot = 0;
      for (let i = 0; i < size; i++) dot += (own[i] - mean[i]) * (vector[i] - mean[i]);
      // A track at the mean has no direction.
      return { track: other, similarity: dot / (ownLength * length(vector)) || 0 };
    });
  return found.sort((a, b) => b.similarity - a.similarity).slice(0, count);
}
