// Joins the parts: events change the tracks, the tracks tell the views to draw.

import { Detail } from './detail.js';
import { at, notify, perFrame, plural } from './dom.js';
import { described, Engine } from './engine.js';
import { asCsv, asJson, save } from './export.js';
import { chosen, dropped, isModel, sorted } from './intake.js';
import { List } from './list.js';
import { Microphone } from './microphone.js';
import { Queue } from './queue.js';
import { renderDevice, renderProgress } from './status.js';
import { Tracks } from './tracks.js';

const tracks = new Tracks();
const render = perFrame(() => {
  const { list: all } = tracks;
  document.body.classList.toggle('has-tracks', all.length > 0);
  at('panes').hidden = !all.length;
  at('export-json').disabled = at('export-csv').disabled = !all.some(track => track.result || track.error);
  renderDevice(engine);
  renderProgress(tracks, queue);
  list.render();
  detail.render();
});
const engine = new Engine(render);
const queue = new Queue(tracks, engine, render);
const narrow = matchMedia('(max-width: 56rem)');

const select = track => tracks.select(track);
const remove = track => {
  const isRunning = track.state === 'running';
  tracks.remove(track);
  if (isRunning) queue.abandon();
};
const list = new List(tracks, {
  select,
  // On a narrow screen the details are below the list.
  open: track => {
    select(track);
    if (narrow.matches) requestAnimationFrame(() => requestAnimationFrame(() => at('detail').scrollIntoView()));
  },
  remove,
  play: () => detail.toggle(),
});
const detail = new Detail(tracks, {
  select,
  filter: tag => {
    list.setTag(list.filter.tag === tag ? -1 : tag);
    if (narrow.matches) at('list-pane').scrollIntoView();
  },
  retry: track => {
    tracks.retry([track]);
    queue.start();
  },
  remove: track => {
    remove(track);
    at('list').focus();
  },
});
tracks.onChange(render);

// Adding music.

function add(files) {
  const { audio, models, others } = sorted(files);
  const added = tracks.add(audio);
  if (models.length) openModel(models[0]);
  else if (others) notify(`${plural(others, 'file')} left out: not audio.`);
  else if (audio.length && !added.length) notify('Already in the list.');
  else notify('');
  queue.start();
}

for (const [button, input] of [
  ['choose-files', 'files'],
  ['choose-folder', 'folder'],
]) {
  at(button).addEventListener('click', () => at(input).click());
  at(input).addEventListener('change', () => {
    add(chosen(at(input)));
    at(input).value = '';
  });
}
at('choose-folder').hidden = !('webkitdirectory' in at('folder'));

at('demo').addEventListener('click', async () => {
  at('demo').disabled = true;
  try {
    const response = await fetch('demo.ogg');
    if (!response.ok) throw new Error(`the server answered ${response.status}`);
    const file = new File([await response.blob()], 'demo.ogg', { type: 'audio/ogg', lastModified: 0 });
    add([{ file, path: file.name }]);
  } catch (error) {
    notify(`The demo track cannot be loaded: ${error.message}.`);
  }
  at('demo').disabled = false;
});

const microphone = new Microphone(file => add([{ file, path: file.name }]));

// A drop is taken on the whole page.
let depth = 0;
const hasFiles = event => event.dataTransfer?.types.includes('Files');
const cover = () => {
  at('drop-cover').hidden = depth === 0;
};
addEventListener('dragenter', event => {
  if (hasFiles(event)) {
    depth++;
    cover();
  }
});
addEventListener('dragleave', event => {
  if (hasFiles(event)) {
    depth = Math.max(0, depth - 1);
    cover();
  }
});
addEventListener('dragover', event => {
  if (hasFiles(event)) event.preventDefault();
});
addEventListener('drop', async event => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  depth = 0;
  cover();
  const [first] = event.dataTransfer.files;
  if (first && at('model-field').contains(event.target)) return openModel(first);
  for await (const files of dropped(event.dataTransfer)) add(files);
});

// Device and model.

/// Opens a tagger; false, and a notice that begins with `problem`, if that fails and another one stays in use.
async function open(options, problem) {
  const former = engine.model;
  try {
    await engine.open(options);
    tracks.setLabels([...engine.labels], engine.model !== former);
    return true;
  } catch (error) {
    if (engine.state === 'ready') notify(`${problem}: ${described(error).message}.`);
    return false;
  }
}

at('device-choice').addEventListener('change', async () => {
  const device = at('device-choice').value;
  await queue.during(async () => {
    if (!(await open({ device }, 'This device cannot be used'))) at('device-choice').value = 'auto';
  });
});

async function openModel(file) {
  const model = file ? { name: file.name, file } : { name: 'small', file: null };
  if (file && !isModel(file)) return notify(`${file.name} is not a model: a .safetensors or .hdf5 file was expected.`);
  notify(file ? `Loading the model ${file.name}…` : '');
  await queue.during(async () => {
    if (!(await open({ model, device: at('device-choice').value }, `${model.name} cannot be used as a model`))) return;
    notify(file ? `Model ${file.name} loaded.` : '');
  });
}

at('model-file').addEventListener('change', () => {
  const [file] = at('model-file').files;
  at('model-file').value = '';
  if (file) openModel(file);
});
at('model-reset').addEventListener('click', () => openModel(null));

// Other buttons and keys.

at('cancel').addEventListener('click', () => queue.cancel());
at('continue').addEventListener('click', () => {
  tracks.retry();
  queue.start();
});
at('clear').addEventListener('click', () => {
  const done = tracks.list.filter(track => track.result).length;
  if (done > 10 && !confirm(`Remove the results of ${plural(done, 'track')}?`)) return;
  tracks.clear();
  queue.abandon();
  notify('');
  at('choose-files').focus();
});
// Leaving the page ends a run; the browser asks first.
addEventListener('beforeunload', event => {
  if (queue.isRunning) event.preventDefault();
});
at('export-json').addEventListener('click', () =>
  save(asJson(tracks.list, tracks.labels, engine.model.name), 'tags.json', 'application/json'),
);
at('export-csv').addEventListener('click', () =>
  save(asCsv(tracks.list, tracks.labels, engine.model.name), 'tags.csv', 'text/csv'),
);
addEventListener('keydown', event => {
  if (event.key === '/' && !event.target.closest('input, select') && tracks.list.length) {
    event.preventDefault();
    at('search').focus();
  }
  if (event.key === 'Escape') {
    if (microphone.isRecording) microphone.stop();
    else if (event.target === at('search')) at('search').blur();
    else if (at('settings').open) {
      at('settings').open = false;
      at('settings').firstElementChild.focus();
    } else if (queue.isRunning) queue.cancel();
  }
});

if (!(await open({}))) await open({ device: 'cpu' });
queue.start();
