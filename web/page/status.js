// Header and progress: which device runs, what is being tagged, and what is left of it.

import { announce, at, plural, remaining, setText } from './dom.js';

/// Shows the state of the engine.
export function renderDevice({ state, device, error, model }) {
  const where =
    device &&
    (device.kind === 'webgpu' ? `Runs on the GPU${device.name ? ` (${device.name})` : ''}` : 'Runs on the CPU');
  setText(
    at('device'),
    state === 'ready'
      ? `${where} · ${model.file ? `model ${model.name}` : 'built-in model'}`
      : state === 'failed'
        ? 'The tagger did not start'
        : 'Loading the tagger…',
  );
  const note =
    state === 'failed'
      ? `${error.message}. Reload the page; if that does not help, try another browser.`
      : (device?.note ?? '');
  at('device-note').hidden = !note;
  at('device-note').classList.toggle('problem', state === 'failed');
  setText(at('device-note'), note);
  at('model-reset').hidden = !model.file;
  document.body.dataset.engine = state;
}

let wasRunning = false;

/// Shows the state of the queue, and says its beginning and end to screen readers.
export function renderProgress(tracks, queue) {
  const cancelled = tracks.list.reduce((count, track) => count + (track.state === 'cancelled'), 0);
  const waiting = !queue.isRunning && tracks.next();
  at('progress').hidden = !queue.isRunning && !cancelled && !waiting;
  // The focus does not fall to the top of the page with a button that goes.
  const hasFocus = document.activeElement === at('cancel') || document.activeElement === at('continue');
  at('cancel').hidden = !queue.isRunning;
  at('continue').hidden = queue.isRunning || !cancelled;
  if (hasFocus) (queue.isRunning ? at('cancel') : cancelled ? at('continue') : at('list')).focus();
  at('progress-bar').hidden = !queue.isRunning;
  if (queue.isRunning) {
    const { track, place, count, part, seconds } = queue.progress();
    setText(
      at('progress-text'),
      track.state !== 'running'
        ? 'Stopping…'
        : `Tagging ${place} of ${count}: ${track.name}${seconds === null ? '' : `, ${remaining(seconds)}`}`,
    );
    at('progress-bar').value = part;
    document.title = `${place}/${count} tagwave`;
    if (!wasRunning) announce(`Tagging ${plural(count, 'track')}`);
  } else {
    setText(
      at('progress-text'),
      cancelled ? `${plural(cancelled, 'track')} not tagged.` : waiting ? 'Waiting for the tagger…' : '',
    );
    document.title = 'tagwave';
    if (wasRunning) {
      const count = state => tracks.list.reduce((sum, track) => sum + (track.state === state), 0);
      const failed = count('failed');
      announce(
        `${plural(count('done'), 'track')} tagged${failed ? `, ${failed} not readable` : ''}${cancelled ? `, ${cancelled} cancelled` : ''}.`,
      );
    }
  }
  wasRunning = queue.isRunning;
}
