// Service worker: makes the page usable without a network.
//
// The network is asked first, so that a new version of the site is used at once; a copy of every answer is kept for
// when there is none. The page's own files are listed here and fetched at installation; those of package/ are kept when
// the page loads them, which it does only after this worker controls it (offline.js).

const CACHE = 'tagwave-1';
const FILES = [
  './',
  'style.css',
  'icon.svg',
  'manifest.webmanifest',
  'demo.ogg',
  'colours.js',
  'detail.js',
  'dom.js',
  'engine.js',
  'export.js',
  'heatmap.js',
  'intake.js',
  'lab.css',
  'lab.html',
  'lab.js',
  'list.js',
  'main.js',
  'microphone.js',
  'offline.js',
  'order.js',
  'queue.js',
  'record.js',
  'record-worklet.js',
  'selftest.html',
  'selftest.js',
  'similar.js',
  'spectrogram.js',
  'status.js',
  'timeline.js',
  'tracks.js',
  'wav.js',
];

self.addEventListener('install', event => {
  self.skipWaiting();
  event.waitUntil(caches.open(CACHE).then(cache => cache.addAll(FILES)));
});

self.addEventListener('activate', event => {
  event.waitUntil(
    (async () => {
      for (const name of await caches.keys())
        if (name.startsWith('tagwave-') && name !== CACHE) await caches.delete(name);
      await self.clients.claim();
    })(),
  );
});

self.addEventListener('fetch', event => {
  const { request } = event;
  if (request.method !== 'GET' || new URL(request.url).origin !== location.origin) return;
  event.respondWith(answer(request, work => event.waitUntil(work)));
});

async function answer(request, keepAlive) {
  const cache = await caches.open(CACHE);
  try {
    const response = await fetch(request);
    // Parts of files (206) cannot be kept.
    if (response.status === 200) keepAlive(cache.put(request, response.clone()));
    return response;
  } catch (error) {
    const kept = await cache.match(request, { ignoreSearch: true });
    if (kept) return kept;
    throw error;
  }
}
