// Checks the kernels of a device; `#quick` in the address for one configuration of each test case.
import { selftest } from './package/tagwave.js';

const at = id => document.getElementById(id);
const buttons = [at('run-webgpu'), at('run-cpu')];

async function check(device) {
  buttons.forEach(button => { button.disabled = true; });
  at('lines').textContent = '';
  at('verdict').textContent = 'Starting';
  try {
    const found = await selftest({
      device,
      quick: location.hash === '#quick',
      onLine: ({ line, done, total }) => {
        at('lines').append(`${line}\n`);
        at('verdict').textContent = `${done} of ${total}`;
      },
    });
    at('verdict').textContent = `${found.device}: ${found.total} checks, ${found.failed} failed`;
  } catch (error) {
    at('verdict').textContent = `Stopped: ${error.message}`;
  } finally {
    buttons.forEach(button => { button.disabled = false; });
  }
}

at('run-webgpu').onclick = () => check('webgpu');
at('run-cpu').onclick = () => check('cpu');
