// Keeps a page as new as what is recorded, and words times as how long ago they
// are. Without it a page is whole, and asks for itself again.
(() => {
  'use strict';

  const part = () => document.getElementById('part');
  const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

  function ago(then) {
    const words = new Intl.RelativeTimeFormat('en', { numeric: 'auto', style: 'short' });
    const seconds = (then - Date.now()) / 1000;
    for (const [unit, length] of [['day', 86400], ['hour', 3600], ['minute', 60]]) {
      if (Math.abs(seconds) >= length) return words.format(Math.round(seconds / length), unit);
    }
    return Math.abs(seconds) < 5 ? 'just now' : words.format(Math.round(seconds), 'second');
  }

  function wordTimes() {
    for (const time of document.querySelectorAll('time')) {
      const then = new Date(time.dateTime);
      const text = ago(then);
      time.title = then.toLocaleString();
      if (time.textContent !== text && !('stamp' in time.dataset)) time.textContent = text;
    }
  }

  // Someone who selects or types would lose it.
  function occupied() {
    const active = document.activeElement;
    return !getSelection().isCollapsed || (active && part().contains(active) && /^(INPUT|SELECT)$/.test(active.tagName));
  }

  function replace(html) {
    const fresh = new DOMParser().parseFromString(html, 'text/html').getElementById('part');
    if (!fresh) return;
    const old = part();
    for (const details of old.querySelectorAll('details[id]')) {
      const same = fresh.querySelector('#' + CSS.escape(details.id));
      if (same) same.open = details.open;
    }
    const active = document.activeElement;
    const within = active && old.contains(active) ? [...old.querySelectorAll(active.tagName)].indexOf(active) : -1;
    const state = (of) => (of.querySelector('#state')?.textContent ?? '').replace(/\s+/g, ' ').trim();
    const before = state(old);
    old.replaceWith(document.adoptNode(fresh));
    document.title = fresh.dataset.title;
    wordTimes();
    if (within >= 0) fresh.querySelectorAll(active.tagName)[within]?.focus({ preventScroll: true });
    if (state(fresh) !== before) say(state(fresh));
  }

  function say(text) {
    document.getElementById('news').textContent = text;
  }

  // Waits for news once, and returns how long to rest before the next time.
  async function look(signal) {
    const at = new URL(location.href);
    at.hash = '';
    at.searchParams.set('news', '1');
    at.searchParams.set('wait', '25s');
    const begin = Date.now();
    const answer = await fetch(at, { headers: { 'If-None-Match': part().dataset.tag }, cache: 'no-store', signal });
    if (answer.status === 401 || answer.status === 404) {
      location.reload();
      return 60_000;
    }
    if (answer.status === 200) {
      const html = await answer.text();
      while (occupied()) await sleep(500);
      replace(html);
      return 250;
    }
    return answer.status === 304 && Date.now() - begin > 2_000 ? 0 : 5_000;
  }

  // A page that nobody sees holds no connection: a browser has few of them.
  async function follow() {
    while (part().dataset.live) {
      if (document.hidden) {
        await new Promise((shown) => document.addEventListener('visibilitychange', shown, { once: true }));
        continue;
      }
      const stop = new AbortController();
      const hide = () => { if (document.hidden) stop.abort(); };
      document.addEventListener('visibilitychange', hide);
      let rest = 5_000;
      try {
        rest = await look(stop.signal);
      } catch (failure) {
        if (failure.name !== 'AbortError') say('The connection is lost; trying again.');
      } finally {
        document.removeEventListener('visibilitychange', hide);
      }
      await sleep(rest);
    }
  }

  wordTimes();
  setInterval(wordTimes, 10_000);
  follow();
})();
