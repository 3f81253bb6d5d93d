'use strict';
// Data: labels, names, paths and lengths as lists; scores and places as bytes in base64.
const data = JSON.parse(document.getElementById('data').textContent);
const bytes = text => Uint8Array.from(atob(text), c => c.charCodeAt(0));
const at = id => document.getElementById(id);
const count = data.names.length, labels = data.labels;
const scores = bytes(data.scores);
const places = new Uint16Array(bytes(data.places).buffer);
const score = (row, label) => scores[row * labels.length + label] / 255;
const minutes = s => s < 0 ? '' : Math.floor(s / 60) + ':' + String(Math.round(s) % 60).padStart(2, '0');
const style = getComputedStyle(document.documentElement);
const colour = label => `hsl(${(label * 137.5) % 360} 65% ${matchMedia('(prefers-color-scheme:dark)').matches ? 65 : 42}%)`;

// Highest tag of each track.
const highest = new Uint16Array(count);
for (let row = 0; row < count; row++) {
  let best = 0;
  for (let label = 1; label < labels.length; label++) if (score(row, label) > score(row, best)) best = label;
  highest[row] = best;
}
at('summary').textContent = `${count.toLocaleString('en')} tracks, model ${data.model || 'not stated'}` +
  (data.failed ? `, ${data.failed} more could not be read` : '') + '.';

let order = [], chosen = -1, selected = -1, sortKey = 'name', sortSign = 1;

// Counts per tag.
function showTags() {
  const limit = Number(at('threshold').value) * 255;
  at('threshold-value').textContent = at('threshold').value;
  const counts = new Uint32Array(labels.length);
  for (let i = 0; i < scores.length; i++) if (scores[i] >= limit) counts[i % labels.length]++;
  const sorted = [...counts.keys()].sort((a, b) => counts[b] - counts[a] || a - b);
  const most = Math.max(1, counts[sorted[0]] || 0);
  at('tags').replaceChildren(...sorted.map(label => {
    const button = document.createElement('button');
    button.setAttribute('aria-pressed', label === chosen);
    button.dataset.tag = labels[label];
    const name = document.createElement('span'), bar = document.createElement('span'), number = document.createElement('span');
    name.textContent = labels[label];
    bar.className = 'bar'; bar.style.width = 100 * counts[label] / most + '%'; bar.style.background = colour(label);
    number.className = 'number'; number.textContent = counts[label].toLocaleString('en');
    button.append(name, bar, number);
    button.onclick = () => { chosen = chosen === label ? -1 : label; showTags(); filter(); draw(); };
    return button;
  }));
}
at('threshold').oninput = () => { showTags(); filter(); draw(); };

// Table: only the rows in view are elements.
const rowHeight = 26;
const keys = { name: row => data.names[row].toLowerCase(), length: row => data.lengths[row], tag: row => labels[highest[row]] };
const columns = [['name', 'Name'], ['length', 'Length'], ['tag', 'Highest tags']];
at('head').append(...columns.map(([key, title]) => {
  const button = document.createElement('button');
  button.textContent = title; button.dataset.key = key;
  button.onclick = () => { sortSign = sortKey === key ? -sortSign : 1; sortKey = key; filter(); };
  return button;
}));
function passes(row, limit) {
  return chosen < 0 || scores[row * labels.length + chosen] >= limit;
}
function filter() {
  const words = at('search').value.toLowerCase().split(/\s+/).filter(Boolean);
  const limit = Number(at('threshold').value) * 255;
  order = [];
  for (let row = 0; row < count; row++) {
    if (!passes(row, limit)) continue;
    if (words.length) {
      const text = (data.names[row] + ' ' + data.paths[row]).toLowerCase();
      if (!words.every(word => text.includes(word))) continue;
    }
    order.push(row);
  }
  const key = new Array(count);
  for (const row of order) key[row] = keys[sortKey](row);
  order.sort((a, b) => (key[a] < key[b] ? -sortSign : key[a] > key[b] ? sortSign : a - b));
  at('count').textContent = `${order.length.toLocaleString('en')} tracks`;
  at('space').style.height = order.length * rowHeight + 'px';
  for (const button of at('head').children) {
    button.setAttribute('aria-sort', button.dataset.key === sortKey ? (sortSign > 0 ? 'ascending' : 'descending') : 'none');
  }
  showRows();
}
function tagsOf(row) {
  const sorted = [...labels.keys()].sort((a, b) => score(row, b) - score(row, a)).slice(0, 4);
  return sorted.filter(label => score(row, label) >= 0.05).map(label => `${labels[label]} ${score(row, label).toFixed(2)}`).join(', ');
}
function showRows() {
  const first = Math.max(0, Math.floor(at('table').scrollTop / rowHeight) - 10);
  const last = Math.min(order.length, first + Math.ceil(at('table').clientHeight / rowHeight) + 20);
  at('rows').style.top = first * rowHeight + 'px';
  const rows = [];
  for (let place = first; place < last; place++) {
    const row = order[place], line = document.createElement('div');
    line.className = row === selected ? 'row selected' : 'row';
    line.dataset.row = row;
    line.title = data.paths[row];
    const cell = (text, of) => { const cell = document.createElement('span'); cell.textContent = text; cell.className = of; return cell; };
    line.append(cell(data.names[row], 'of-name'), cell(minutes(data.lengths[row]), 'time'), cell(tagsOf(row), 'of'));
    rows.push(line);
  }
  at('rows').replaceChildren(...rows);
}
at('table').onscroll = showRows;
at('search').oninput = filter;
at('rows').onclick = event => { const line = event.target.closest('.row'); if (line) select(Number(line.dataset.row), true); };

// Player: paths are relative to this page.
function select(row, plays) {
  selected = row;
  at('playing').textContent = data.names[row];
  const path = data.links[row] === undefined ? data.paths[row] : data.links[row];
  at('player').src = path.split('/').map(encodeURIComponent).join('/').replace(/^([A-Za-z])%3A/, 'file:///$1:').replace(/^\//, 'file:///');
  if (plays) at('player').play().catch(() => { at('playing').textContent = data.names[row] + ' (this browser cannot play it, or it has moved)'; });
  showRows(); draw();
}

// Map.
const canvas = at('map'), view = { x: 0.5, y: 0.5, zoom: 1 };
let hovered = -1;
// Size of the canvas and scale of the map: asked for once per drawing, because asking is what takes time.
function geometry() {
  const width = canvas.clientWidth, height = canvas.clientHeight;
  return { width, height, scale: Math.min(width, height) * 0.94 * view.zoom };
}
const screenX = (of, row) => of.width / 2 + (places[2 * row] / 65535 - view.x) * of.scale;
const screenY = (of, row) => of.height / 2 + (places[2 * row + 1] / 65535 - view.y) * of.scale;
// Colours as numbers, as the pixels of an image hold them.
const brush = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
function pixel(fill) {
  brush.fillStyle = fill;
  brush.fillRect(0, 0, 1, 1);
  return new Uint32Array(brush.getImageData(0, 0, 1, 1).data.buffer)[0];
}
function drawNow() {
  const ratio = devicePixelRatio || 1, of = geometry();
  const width = canvas.width = Math.round(of.width * ratio), height = canvas.height = Math.round(of.height * ratio);
  if (!width || !height) return;
  const to = canvas.getContext('2d'), image = to.createImageData(width, height);
  // A pixel buffer takes any number of dots; drawing them one by one does not.
  const pixels = new Uint32Array(image.data.buffer);
  const size = Math.round((count > 20000 ? 2 : count > 2000 ? 3 : 5) * ratio);
  const limit = Number(at('threshold').value) * 255;
  const colours = labels.map((_, label) => pixel(colour(label))), faint = pixel(style.getPropertyValue('--line'));
  const dot = (row, fill) => {
    const left = Math.round(screenX(of, row) * ratio - size / 2), top = Math.round(screenY(of, row) * ratio - size / 2);
    if (left < 0 || top < 0 || left + size > width || top + size > height) return;
    for (let y = top; y < top + size; y++) pixels.fill(fill, y * width + left, y * width + left + size);
  };
  for (let row = 0; row < count; row++) if (!passes(row, limit)) dot(row, faint);
  for (let row = 0; row < count; row++) if (passes(row, limit)) dot(row, colours[highest[row]]);
  to.putImageData(image, 0, 0);
  to.scale(ratio, ratio);
  to.lineWidth = 2; to.strokeStyle = style.getPropertyValue('--ink');
  for (const row of [selected, hovered]) if (row >= 0) { to.beginPath(); to.arc(screenX(of, row), screenY(of, row), 7, 0, 7); to.stroke(); }
}
let isWaiting = false;
function draw() {
  if (isWaiting) return;
  isWaiting = true;
  requestAnimationFrame(() => { isWaiting = false; drawNow(); });
}
function nearest(event) {
  const box = canvas.getBoundingClientRect(), px = event.clientX - box.left, py = event.clientY - box.top, of = geometry();
  let best = -1, least = 144;
  for (let row = 0; row < count; row++) {
    const distance = (screenX(of, row) - px) ** 2 + (screenY(of, row) - py) ** 2;
    if (distance < least) { least = distance; best = row; }
  }
  return best;
}
let drag = null;
canvas.onpointerdown = event => { drag = { x: event.clientX, y: event.clientY, moved: false }; canvas.setPointerCapture(event.pointerId); };
canvas.onpointermove = event => {
  if (drag) {
    const { scale } = geometry();
    const dx = event.clientX - drag.x, dy = event.clientY - drag.y;
    if (drag.moved || Math.hypot(dx, dy) > 3) {
      view.x -= dx / scale; view.y -= dy / scale;
      drag = { x: event.clientX, y: event.clientY, moved: true };
      draw();
    }
    return;
  }
  const row = nearest(event);
  if (row !== hovered) { hovered = row; at('near').textContent = row < 0 ? '' : `${data.names[row]}: ${tagsOf(row)}`; draw(); }
};
canvas.onpointerup = event => { if (drag && !drag.moved) { const row = nearest(event); if (row >= 0) select(row, true); } drag = null; };
canvas.onwheel = event => { event.preventDefault(); view.zoom = Math.min(200, Math.max(0.5, view.zoom * Math.exp(-event.deltaY / 400))); draw(); };
addEventListener('resize', () => { draw(); showRows(); });

// Tags over time: time to the right, score upwards; the score of a clip holds from its start to the next.
function timeline(of) {
  const svg = (name, values, text) => {
    const element = document.createElementNS('http://www.w3.org/2000/svg', name);
    for (const key in values) element.setAttribute(key, values[key]);
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const figure = document.createElement('figure'), title = document.createElement('figcaption');
  title.textContent = of.name;
  const drawing = svg('svg', { viewBox: '0 0 900 190', role: 'img', 'aria-label': 'tags over time' });
  const left = 34, right = 730, bottom = 165, top = 15;
  const x = s => left + (right - left) * s / of.end, y = v => bottom - (bottom - top) * v;
  for (const v of [0, 0.5, 1]) {
    drawing.append(svg('line', { x1: left, x2: right, y1: y(v), y2: y(v), stroke: 'gray', 'stroke-opacity': v ? 0.3 : 1 }));
    drawing.append(svg('text', { x: left - 5, y: y(v) + 4, 'text-anchor': 'end' }, v));
  }
  for (let i = 0; i <= 4; i++) {
    const s = of.end * i / 4;
    drawing.append(svg('text', { x: x(s), y: 184, 'text-anchor': ['start', 'middle', 'middle', 'middle', 'end'][i] }, minutes(s)));
  }
  of.tags.forEach((tag, index) => {
    const ends = [...of.starts.slice(1), of.end];
    const at = (s, i) => `${x(s).toFixed(1)},${y(tag.scores[i]).toFixed(1)}`;
    const points = of.starts.map((s, i) => `${at(s, i)} ${at(ends[i], i)}`).join(' ');
    const paint = colour(labels.indexOf(tag.name));
    drawing.append(svg('polyline', { points, fill: 'none', stroke: paint, 'stroke-width': 2 }));
    drawing.append(svg('text', { x: 745, y: 22 + 18 * index, style: `fill:${paint}` }, tag.name));
  });
  figure.append(title, drawing);
  return figure;
}
if (data.timelines.length) { at('timelines').hidden = false; at('timelines').append(...data.timelines.map(timeline)); }

showTags(); filter(); drawNow();
document.body.dataset.ready = 'true';
