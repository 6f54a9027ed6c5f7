"use strict";
// Measures the page of a report that has just been loaded, and sends the numbers to the bench that serves it.
(async () => {
  const frame = () => new Promise((done) => { requestAnimationFrame(done); });
  const loaded = performance.now();
  await frame();
  await frame();
  const opened = performance.now();
  const box = document.querySelector(".lanes");
  const frames = async (count, act) => {
    const times = [];
    let last = await frame();
    for (let number = 0; count > number; number += 1) {
      act(number);
      const now = await frame();
      times.push(now - last);
      last = now;
    }
    return times.sort((a, b) => a - b);
  };
  const at = (times, part) => times[Math.min(times.length - 1, Math.floor(times.length * part))];
  const shown = (times) => ({ median: at(times, 0.5), p95: at(times, 0.95), longest: at(times, 1) });
  const page = await frames(120, (number) => scrollBy(0, 60 > number ? 40 : -40));
  box.scrollIntoView();
  const timeline = await frames(120, (number) => { box.scrollTop += 60 > number ? 24 : -24; });
  const [closer, , all] = document.querySelectorAll("#timeline button");
  const zoom = await frames(60, (number) => (number % 12 === 11 ? all : closer).click());
  all.click();
  await frame();
  await frame();

  // Whether each pixel is painted in which something ran, lane by lane as far as the timeline can be scrolled.
  const data = JSON.parse(document.getElementById("data").textContent);
  const canvas = box.querySelector("canvas");
  const ratio = devicePixelRatio || 1;
  const width = box.clientWidth;
  const items = [...data.bars.map(([lane, , , start, time]) => [lane, start, time]), ...data.bands];
  const whole = items.reduce((end, [, start, time]) => Math.max(end, start + time), data.duration);
  const byLane = Map.groupBy(items, ([lane]) => lane);
  let [ran, empty] = [0, 0];
  for (let top = 0; data.lanes * 16 > top; top += 400) {
    box.scrollTop = top;
    await frame();
    await frame();
    const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    for (const [lane, own] of byLane) {
      const y = lane * 16 - box.scrollTop + 4;
      if (0 > y || y >= canvas.height / ratio) continue;
      for (const [, start, time] of own) {
        const [first, last] = [start / whole * width, (start + time) / whole * width];
        for (let x = Math.floor(first); Math.max(last, Math.floor(first) + 1) > x && width > x; x += 1) {
          ran += 1;
          const alpha = pixels.data[(Math.floor(y * ratio) * canvas.width + Math.floor(x * ratio)) * 4 + 3];
          if (alpha === 0) empty += 1;
        }
      }
    }
  }
  const counts = { bars: data.bars.length, bands: data.bands.length, lanes: data.lanes };
  await fetch("/measured", {
    method: "POST",
    body: JSON.stringify({ loaded, opened, page: shown(page), timeline: shown(timeline), zoom: shown(zoom), ran, empty, ...counts }),
  });
})();
