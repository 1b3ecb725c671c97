// Diagrams of the stars: points that are hovered, clicked and brushed, by pointer or keys.
const panels = [];

class Panel {
  // `describe` says what is drawn: null, or x, y, titles, and straight guides [[x, y], [x, y], is dashed].
  constructor(figure, describe) {
    [this.caption, this.place] = [figure.querySelector("figcaption"), figure.querySelector(".plot")];
    this.figure = figure;
    this.describe = describe;
    this.words = element("b");
    this.more = element("span");
    this.caption.append(this.words, this.more);
    this.place.addEventListener("keydown", (event) => this.key(event));
    this.place.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    this.place.addEventListener("blur", () => change({ hovered: null }));
    new ResizeObserver(() => this.resize()).observe(this.place);
    panels.push(this);
  }

  size() {
    return { width: this.place.clientWidth, height: this.place.clientHeight };
  }

  resize() {
    if (this.plot && this.place.clientWidth > 0) this.plot.setSize(this.size());
  }

  build() {
    this.plot?.destroy();
    this.plot = this.places = null;
    this.shown = this.describe();
    this.figure.hidden = this.shown === null;
    if (this.shown === null) return;
    const { x, y, title, xTitle, yTitle, xDown, yDown } = this.shown;
    this.home = { x: this.shown.xHome ?? home(x), y: this.shown.yHome ?? home(y) };
    this.view = { ...this.home };
    this.isZoomed = false;
    const known = x.reduce((n, value, star) => n + (Number.isFinite(value) && Number.isFinite(y[star]) ? 1 : 0), 0);
    this.words.textContent = title;
    this.more.textContent = known < nStars ? `${known} of ${nStars} stars` : "";
    this.place.setAttribute("role", "application");
    this.place.setAttribute("aria-label", `${title}. Arrows go from star to star, Enter opens a star, Escape lets go of the selection.`);
    const range = (name) => () => this.view[name];
    this.plot = new uPlot(
      {
        ...this.size(),
        legend: { show: false },
        cursor: { x: false, y: false, points: { show: false }, drag: { x: true, y: true, setScale: false, dist: 5 } },
        scales: { x: { time: false, dir: xDown ? -1 : 1, range: range("x") }, y: { dir: yDown ? -1 : 1, range: range("y") } },
        axes: [axis(xTitle, 28), axis(yTitle, 52)],
        series: [{}, { paths: () => null, points: { show: false } }],
        hooks: { draw: [() => this.draw()], setSelect: [() => this.dragged()], setCursor: [() => this.moved()] },
      },
      [[0, 1], [null, null]],
      this.place,
    );
    const over = this.plot.over;
    this.rings = { star: element("i", { className: "ring open" }), hovered: element("i", { className: "ring" }) };
    over.append(...Object.values(this.rings));
    this.ring();
    over.addEventListener("mousedown", (event) => {
      this.pressed = [event.clientX, event.clientY];
      this.place.focus({ preventScroll: true });
    });
    // A finger scrolls the page until the diagram was touched; then it drags as a pointer does.
    const asMouse = { pointerdown: "mousedown", pointermove: "mousemove", pointerup: "mouseup", pointercancel: "mouseup" };
    for (const [kind, mouse] of Object.entries(asMouse)) {
      over.addEventListener(kind, (event) => {
        if (event.pointerType !== "touch" || document.activeElement !== this.place) return;
        const { clientX, clientY } = event;
        // Without a movement uPlot takes a drag for a click.
        const how = { bubbles: true, cancelable: true, clientX, clientY, movementX: 1, buttons: mouse === "mouseup" ? 0 : 1 };
        over.dispatchEvent(new MouseEvent(mouse, how));
      });
    }
    over.addEventListener("click", (event) => {
      const [x, y] = this.pressed ?? [event.clientX, event.clientY];
      if (Math.hypot(event.clientX - x, event.clientY - y) > 4) return;
      const box = over.getBoundingClientRect();
      const star = this.nearest(event.clientX - box.left, event.clientY - box.top, 16);
      if (star !== null) openStar(star, true);
    });
    over.addEventListener("dblclick", () => (this.isZoomed ? this.look(this.home) : change({ brushed: null })));
    over.addEventListener("mouseleave", () => change({ hovered: null }));
  }

  // Where a star is, in pixels of the page; those beyond the diagram stand at its edge.
  at(star) {
    const { x, y } = this.shown;
    if (!Number.isFinite(x[star]) || !Number.isFinite(y[star])) return null;
    const { width, height } = this.plot.over.getBoundingClientRect();
    const [left, top] = [this.plot.valToPos(x[star], "x"), this.plot.valToPos(y[star], "y")];
    const isBeyond = left < 0 || left > width || top < 0 || top > height;
    if (isBeyond && this.isZoomed) return null;
    return { left: Math.min(Math.max(left, 4), width - 4), top: Math.min(Math.max(top, 4), height - 4), isBeyond };
  }

  draw() {
    const { ctx, bbox } = this.plot;
    const ratio = uPlot.pxRatio;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    ctx.translate(bbox.left, bbox.top);
    ctx.scale(ratio, ratio);
    ctx.lineWidth = 1;
    ctx.strokeStyle = color("faint");
    for (const [from, to, isDashed] of this.shown.guides ?? []) {
      ctx.setLineDash(isDashed ? [5, 4] : []);
      ctx.beginPath();
      ctx.moveTo(this.plot.valToPos(from[0], "x"), this.plot.valToPos(from[1], "y"));
      ctx.lineTo(this.plot.valToPos(to[0], "x"), this.plot.valToPos(to[1], "y"));
      ctx.stroke();
    }
    ctx.setLineDash([]);
    this.places = Array.from({ length: nStars }, (_, star) => this.at(star));
    const [plain, flagged, faint] = [color("k0"), color("k1"), color("faint")];
    // Those that are not selected lie below the others.
    for (const selected of [false, true]) {
      for (let star = 0; star < nStars; star++) {
        const place = this.places[star];
        if (place === null || isSelected(star) !== selected) continue;
        const isFlagged = (columns[`flags.${state.model}`]?.[star] ?? 0) > 0;
        ctx.globalAlpha = selected ? (isFlagged ? 0.9 : 0.6) : 0.25;
        ctx.fillStyle = ctx.strokeStyle = selected ? (isFlagged ? flagged : plain) : faint;
        mark(ctx, place, isFlagged);
      }
    }
    ctx.restore();
    this.ring();
  }

  // Rings about the star that is open and the one under the pointer; they move without anything being drawn again.
  ring() {
    if (!this.plot || !this.places) return;
    for (const [of, ring] of Object.entries(this.rings)) {
      const place = state[of] === null ? null : this.places[state[of]];
      ring.hidden = !place;
      if (place) ring.style.translate = `${place.left}px ${place.top}px`;
    }
  }

  nearest(left, top, within) {
    let [found, least] = [null, within];
    this.places?.forEach((place, star) => {
      if (place === null) return;
      const distance = Math.hypot(place.left - left, place.top - top) + (isSelected(star) ? 0 : 4);
      if (distance < least) [found, least] = [star, distance];
    });
    return found;
  }

  moved() {
    const { left, top } = this.plot.cursor;
    if (left < 0 || this.plot.select.width > 0) return;
    const star = this.nearest(left, top, 12);
    change({ hovered: star });
    this.tell(star);
  }

  tell(star) {
    const place = star === null ? null : this.places[star];
    const box = this.plot.over.getBoundingClientRect();
    showTip(place ? star : null, place ? box.left + place.left : 0, place ? box.top + place.top : 0);
  }

  // What lies between two corners, brushed or looked at.
  dragged() {
    const { left, top, width, height } = this.plot.select;
    if (width < 3 || height < 3) return;
    this.plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    if (state.drag === "zoom") {
      const value = (position, scale) => this.plot.posToVal(position, scale);
      const inOrder = (a, b) => [Math.min(a, b), Math.max(a, b)];
      this.look({ x: inOrder(value(left, "x"), value(left + width, "x")), y: inOrder(value(top, "y"), value(top + height, "y")) });
      return;
    }
    const inside = (place) => place && place.left >= left && place.left <= left + width && place.top >= top && place.top <= top + height;
    change({ brushed: new Set(Array.from(this.places.keys()).filter((star) => inside(this.places[star]))) });
  }

  look(view) {
    this.view = { x: view.x, y: view.y };
    this.isZoomed = view !== this.home;
    this.plot.redraw(true, true);
    this.plot.setScale("x", { min: view.x[0], max: view.x[1] });
    this.plot.setScale("y", { min: view.y[0], max: view.y[1] });
  }

  zoom(factor, about = {}) {
    this.look({ x: closer(this.view.x, factor, about.x), y: closer(this.view.y, factor, about.y) });
  }

  wheel(event) {
    // The page scrolls unless somebody works here.
    if (document.activeElement !== this.place || !this.plot) return;
    event.preventDefault();
    const box = this.plot.over.getBoundingClientRect();
    const [x, y] = [this.plot.posToVal(event.clientX - box.left, "x"), this.plot.posToVal(event.clientY - box.top, "y")];
    this.zoom(event.deltaY < 0 ? 0.8 : 1.25, { x, y });
  }

  key(event) {
    if (!this.plot || event.ctrlKey || event.metaKey || event.altKey) return;
    const directions = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const middle = state.hovered === null ? {} : { x: this.shown.x[state.hovered], y: this.shown.y[state.hovered] };
    if (directions[event.key]) {
      const star = this.towards(directions[event.key]);
      change({ hovered: star });
      this.tell(star);
    } else if (event.key === "Enter" && state.hovered !== null) openStar(state.hovered, true);
    else if (event.key === "+" || event.key === "=") this.zoom(0.7, middle);
    else if (event.key === "-") this.zoom(1.4, middle);
    else if (event.key === "0") this.look(this.home);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  // The nearest star in a direction, of those that are selected; the first one stands nearest to the middle.
  towards([right, down]) {
    const from = state.hovered ?? state.star;
    const start = from === null ? null : this.places[from];
    const { width, height } = this.plot.over.getBoundingClientRect();
    if (!start) return this.nearest(width / 2, height / 2, Infinity);
    let [found, least] = [from, Infinity];
    this.places.forEach((place, star) => {
      if (place === null || star === from || !isSelected(star)) return;
      const [dx, dy] = [place.left - start.left, place.top - start.top];
      const along = dx * right + dy * down;
      const across = Math.abs(dx * down) + Math.abs(dy * right);
      const distance = along + 2 * across;
      if (along > 0 && across <= 2 * along && distance < least) [found, least] = [star, distance];
    });
    return found;
  }
}

// A star without remark is a disc, one with flags a cross, one beyond the diagram a triangle.
function mark(ctx, { left, top, isBeyond }, isFlagged) {
  ctx.beginPath();
  if (isBeyond) {
    ctx.moveTo(left - 4, top + 3.5);
    ctx.lineTo(left + 4, top + 3.5);
    ctx.lineTo(left, top - 4);
    ctx.closePath();
    ctx.fill();
  } else if (isFlagged) {
    ctx.lineWidth = 1.5;
    ctx.moveTo(left - 3.2, top - 3.2);
    ctx.lineTo(left + 3.2, top + 3.2);
    ctx.moveTo(left - 3.2, top + 3.2);
    ctx.lineTo(left + 3.2, top - 3.2);
    ctx.stroke();
  } else {
    ctx.arc(left, top, 2.6, 0, 2 * Math.PI);
    ctx.fill();
  }
}

function showTip(star, left, top) {
  const tip = byId("tip");
  tip.hidden = star === null;
  if (star === null) return;
  const lines = [data.ids[star]];
  const snr = column("snr")?.[star];
  if (Number.isFinite(snr)) lines.push(`S/N ${written(snr, "", -1)}`);
  for (const label of data.labels) {
    const [estimate, error, reference] = [estimates(label), errors(label), references(label)].map((values) => values?.[star]);
    const beside = Number.isFinite(reference) ? `, ${state.reference} ${written(reference, label.unit)}` : "";
    lines.push(`${label.title} ${written(estimate, label.unit)} ± ${written(error, label.unit, label.unit === "K" ? 0 : 1)}${beside}`);
  }
  const flags = flagsOf(star);
  if (flags.length > 0) lines.push(flags.join(", "));
  if (verdicts.has(star)) lines.push(`judged: ${verdicts.get(star).verdict}`);
  tip.textContent = lines.join("\n");
  const { width, height } = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(4, left + 14 + width > innerWidth ? left - 14 - width : left + 14)}px`;
  tip.style.top = `${Math.max(4, Math.min(top + 14, innerHeight - height - 4))}px`;
}
