// Results as files: JSON for programs (rows as `tagwave tag --per-clip` writes them), CSV for spreadsheets.

const six = value => Math.round(value * 1e6) / 1e6;

function tags(scores, labels) {
  const order = [...scores.keys()].sort((a, b) => scores[b] - scores[a]);
  return order.map(label => ({ tag: labels[label], score: six(scores[label]) }));
}

/// Rows of the tracks that were tagged or failed.
export function asJson(tracks, labels, model) {
  const rows = tracks
    .filter(track => track.result || track.error)
    .map(({ path, result, error }) =>
      result
        ? {
            schema: 2,
            path,
            model,
            device: result.device,
            decoder: result.decoder,
            clip_start_s: six(result.clips[0]?.start ?? 0),
            track_s: result.seconds === null ? undefined : six(result.seconds),
            clip_count: result.clips.length,
            tags: tags(result.scores, labels),
            clips: result.clips.map(clip => ({ start_s: six(clip.start), tags: tags(clip.scores, labels) })),
            embedding: Array.from(result.embedding, six),
            warnings: result.warnings,
          }
        : { schema: 2, path, model, error: { kind: error.kind, message: error.message } },
    );
  return `[\n${rows.map(row => JSON.stringify(row)).join(',\n')}\n]\n`;
}

/// A cell of a CSV file. Spreadsheets take texts that begin with these characters for formulas, and a file's name is
/// a stranger's text: an apostrophe in front keeps it text.
function cell(value) {
  if (typeof value === 'number') return String(value);
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/// A line per track, a column per tag.
export function asCsv(tracks, labels, model) {
  const head = ['path', 'model', 'seconds', 'highest tag', 'error', 'warnings', ...labels];
  const lines = tracks
    .filter(track => track.result || track.error)
    .map(({ path, result, error }) => [
      path,
      model,
      result?.seconds != null ? six(result.seconds) : '',
      result ? labels[result.best[0]] : '',
      error?.message ?? '',
      result?.warnings.join('; ') ?? '',
      ...labels.map((_, i) => (result ? six(result.scores[i]) : '')),
    ]);
  // A byte order mark, without which some spreadsheets do not read UTF-8.
  return '\ufeff' + [head, ...lines].map(line => line.map(cell).join(',') + '\r\n').join('');
}

/// Offers a text as a download.
export function save(text, name, type) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  // The download has begun when the event returns, but browsers read the address a little later.
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
