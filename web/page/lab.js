// The kernel laboratory: a kernel is loaded, changed, checked, and timed beside the built-in ones.
import { KernelLab } from './package/tagwave.js';

const at = id => document.getElementById(id);
const controls = ['kernel', 'load', 'check', 'layer', 'time'].map(at);
let lab, records = [], stopping = null;

const say = text => { at('verdict').textContent = text; };
function enable(isEnabled) {
  controls.forEach(control => { control.disabled = !isEnabled; });
  at('time').disabled ||= !at('layer').value;
  at('stop').disabled = isEnabled;
}
const option = name => Object.assign(document.createElement('option'), { value: name, textContent: name });

// Selects the line that a compiler complains about, as `:57:9 error: ...` names it.
function showLine(message) {
  const place = /:(\d+):(\d+)/.exec(message);
  if (!place) return;
  const lines = at('source').value.split('\n'), line = Number(place[1]) - 1;
  if (line >= lines.length) return;
  const start = lines.slice(0, line).reduce((length, text) => length + text.length + 1, 0);
  at('source').focus();
  at('source').setSelectionRange(start, start + lines[line].length);
  at('source').scrollTop = (at('source').scrollHeight / lines.length) * Math.max(0, line - 5);
}

// Runs one call; the controls wait for it.
async function work(what, call) {
  stopping = new AbortController();
  enable(false);
  say(what);
  try {
    await call(stopping.signal);
  } catch (error) {
    say(error.name === 'AbortError' ? 'Stopped.' : `Failed: ${error.message}`);
    showLine(error.message);
    // The device is lost, as after a kernel that does not end.
    if (['device', 'internal'].includes(error.kind)) {
      lab.free();
      lab = await KernelLab.create().catch(error => { say(`No GPU any more: ${error.message}`); return lab; });
    }
  } finally {
    enable(true);
  }
}

function showTimes() {
  const own = records[0].median_ms;
  const rows = records.map(record => {
    const row = document.createElement('tr');
    const cells = [
      (record.kernel ?? 'your kernel') + (record.default ? ' (default)' : ''),
      record.median_ms.toFixed(3),
      `${record.least_ms.toFixed(3)} to ${record.most_ms.toFixed(3)}`,
      record.gflops.toFixed(1),
      `${(record.median_ms / own).toFixed(2)}x`,
    ];
    row.append(...cells.map(text => Object.assign(document.createElement('td'), { textContent: text })));
    return row;
  });
  at('times').tBodies[0].replaceChildren(...rows);
  at('times').hidden = false;
  at('save').disabled = false;
}

async function start() {
  try {
    lab = await KernelLab.create();
  } catch (error) {
    at('device').textContent = `No GPU to try kernels on: ${error.message}`;
    return;
  }
  at('device').textContent = `Runs on ${lab.device}`;
  at('kernel').replaceChildren(...lab.kernels.map(option));

  const load = () => work('Loading', async () => {
    at('source').value = await lab.template(at('kernel').value);
    at('lines').textContent = '';
    at('layer').replaceChildren(...(await lab.layers(at('source').value)).map(option));
    say('Change it, then check it.');
  });
  const check = () => work('Checking', async signal => {
    at('lines').textContent = '';
    const total = await lab.check(at('source').value, {
      signal,
      onLine: ({ line, done, total }) => {
        at('lines').append(`${line}\n`);
        say(`${done} of ${total}`);
      },
    });
    at('layer').replaceChildren(...(await lab.layers(at('source').value)).map(option));
    say(`Correct in ${total} test cases.`);
  });
  const time = () => work('Checking and timing', async signal => {
    await lab.check(at('source').value, { signal });
    records = await lab.time(at('source').value, at('layer').value);
    showTimes();
    say(`Timed on ${at('layer').value}, one clip.`);
  });
  const save = () => {
    const text = records.map(record => `${JSON.stringify(record)}\n`).join('');
    const link = document.createElement('a');
    link.href = URL.createObjectURL(new Blob([text], { type: 'application/x-ndjson' }));
    // As the files of benches/records: in the order of their dates.
    link.download = `${new Date().toISOString().slice(0, 10)}-${records[0].vendor || 'gpu'}-browser.jsonl`;
    link.click();
    URL.revokeObjectURL(link.href);
  };
  at('load').onclick = load;
  at('check').onclick = check;
  at('time').onclick = time;
  at('save').onclick = save;
  at('stop').onclick = () => stopping?.abort();
  at('kernel').value = lab.kernels.includes('conv2d_tiled') ? 'conv2d_tiled' : lab.kernels[0];
  await load();
}

start();
