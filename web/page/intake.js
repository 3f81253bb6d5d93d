// Files from drops and from the buttons: folders are searched, what is not audio is left out and counted.

const AUDIO =
  /\.(mp3|mp2|flac|ogg|oga|opus|wav|wave|aif|aiff|aifc|m4a|m4b|mp4|aac|caf|alac|mka|weba|webm|wma|wv|ape|spx)$/i;
const MODEL = /\.(safetensors|hdf5|h5)$/i;

/// Files beginning with a dot are hidden; on some disks they hold the attributes of others.
const isAudio = file => !file.name.startsWith('.') && (AUDIO.test(file.name) || file.type.startsWith('audio/'));
export const isModel = file => MODEL.test(file.name);

/// Splits `{ file, path }` into audio, models and a number of others.
export function sorted(files) {
  const audio = files.filter(({ file }) => isAudio(file)),
    models = files.filter(({ file }) => isModel(file));
  return { audio, models: models.map(({ file }) => file), others: files.length - audio.length - models.length };
}

/// Files of an <input>, with their path inside the chosen folder.
export function chosen(input) {
  return [...input.files].map(file => ({ file, path: file.webkitRelativePath || file.name }));
}

/// Files of a drop, as lists: one of the files dropped, then one per folder. `transfer` is only readable during its
/// event, so its entries are taken before the first await.
export function dropped(transfer) {
  const entries = [...transfer.items]
    .filter(item => item.kind === 'file')
    .map(item => item.webkitGetAsEntry?.() ?? item.getAsFile());
  return walk(entries.filter(Boolean), '');
}

async function* walk(entries, folder) {
  const files = [],
    folders = [];
  for (const entry of entries) {
    if (entry instanceof File) files.push({ file: entry, path: entry.name });
    else if (entry.isDirectory) folders.push(entry);
    // A file that cannot be read any more is one that is not there.
    else
      await new Promise(resolve =>
        entry.file(file => {
          files.push({ file, path: folder + file.name });
          resolve();
        }, resolve),
      );
  }
  const byName = (a, b) => (a.path < b.path ? -1 : 1);
  if (files.length) yield files.sort(byName);
  for (const entry of folders.sort((a, b) => (a.name < b.name ? -1 : 1)))
    yield* walk(await contents(entry), `${folder}${entry.name}/`);
}

async function contents(folder) {
  const reader = folder.createReader(),
    all = [];
  // Browsers give at most 100 entries at a time, and none at the end.
  for (;;) {
    const some = await new Promise(resolve => reader.readEntries(resolve, () => resolve([])));
    if (!some.length) return all;
    all.push(...some);
  }
}
