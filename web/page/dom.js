// Small helpers for elements and texts.

export const at = id => document.getElementById(id);

/// Element with properties and children; texts are never parsed as HTML.
export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

/// Sets a text only if it differs, so that a screen reader and the layout are not disturbed.
export function setText(of, text) {
  if (of.textContent !== text) of.textContent = text;
}

/// 75 as "1:15", 3675 as "1:01:15".
export function clock(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return '';
  const whole = Math.max(0, Math.round(seconds));
  const hours = Math.floor(whole / 3600),
    minutes = Math.floor(whole / 60) % 60;
  const last = String(whole % 60).padStart(2, '0');
  return hours ? `${hours}:${String(minutes).padStart(2, '0')}:${last}` : `${minutes}:${last}`;
}

/// Time left in words, rounded to what is known of it.
export function remaining(seconds) {
  if (seconds < 50) return 'less than a minute left';
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `about ${plural(Math.max(1, minutes), 'minute')} left`;
  return `about ${plural(Math.round(minutes / 60), 'hour')} left`;
}

export const plural = (count, noun) => `${count.toLocaleString('en')} ${noun}${count === 1 ? '' : 's'}`;

/// Says a sentence to screen readers.
export function announce(text) {
  at('announcement').textContent = text;
}

/// Shows a sentence to everybody, until the next one; an empty text removes it.
export function notify(text) {
  at('notice').hidden = !text;
  setText(at('notice'), text);
  if (text) announce(text);
}

/// Calls `work` once per frame at most, however often it is asked for. In a hidden tab there are no frames, but the
/// title still shows the progress.
export function perFrame(work) {
  let isWaiting = false;
  const run = () => {
    isWaiting = false;
    work();
  };
  return () => {
    if (isWaiting) return;
    isWaiting = true;
    if (document.hidden) setTimeout(run, 200);
    else requestAnimationFrame(run);
  };
}
