// Installs the service worker.

/// Resolves when the service worker controls the page, so that what the page loads from then on is kept for use
/// without a network; or after 3 seconds, or at once where there is none: the page works without it.
export async function installed() {
  if (!('serviceWorker' in navigator)) return;
  const workers = navigator.serviceWorker;
  const isControlled = workers.controller
    ? Promise.resolve()
    : new Promise(resolve => workers.addEventListener('controllerchange', resolve, { once: true }));
  // Not available in some private windows, and refused if a file of the list is missing.
  const isRegistered = workers.register('sw.js').catch(error => console.info('no offline use:', error.message));
  const isLate = new Promise(resolve => setTimeout(resolve, 3000));
  await Promise.race([isRegistered.then(done => done && isControlled), isLate]);
}
