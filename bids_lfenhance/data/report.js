"use strict";
document.documentElement.classList.remove("no-js");
(function () {
  const SPRITES = JSON.parse(document.getElementById("sprites").textContent);
  const FLICKER_MS = 700;
  const OUTLINE_ENLARGE = 2;
  const loaded = new Map();
  let count = 0;

  function picture(key) {
    if (!loaded.has(key)) {
      loaded.set(key, new Promise((done) => {
        const image = new Image();
        image.onload = () => done(image);
        image.src = SPRITES[key];
      }));
    }
    return loaded.get(key);
  }

  function make(tag, attributes, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (name === "text") element.textContent = value;
      else element.setAttribute(name, value);
    }
    element.append(...children);
    return element;
  }

  function choice(legend, options, chosen, act) {
    const group = make("fieldset", {}, make("legend", { text: legend }));
    const name = "choice" + (count += 1);
    for (const [value, text] of options) {
      const input = make("input", { type: "radio", name, value });
      input.checked = value === chosen;
      input.addEventListener("change", () => act(value));
      group.append(make("label", {}, input, make("span", { text })));
    }
    return group;
  }

  function select(label, images, chosen, act) {
    const list = make("select", { "aria-label": label });
    for (const image of images) list.append(make("option", { value: image.key, text: image.name }));
    list.value = chosen;
    list.addEventListener("change", () => act(list.value));
    return list;
  }

  function start(root) {
    const data = JSON.parse(root.querySelector("script").textContent);
    const state = {
      contrast: data.contrasts[0], plane: data.planes[0], share: 0.5, mode: data.mode || "side",
      a: null, b: null, split: 0.5, second: false, timer: null, lines: false, turn: 0,
    };
    const controls = make("div", { class: "controls" });
    const stage = make("div", { class: "stage" });
    root.append(controls, stage);

    const slice = () => Math.round(state.share * (state.plane.mm.length - 1));
    const image = (key) => state.contrast.images.find((one) => one.key === key);

    function stop() {
      clearInterval(state.timer);
      state.timer = null;
    }

    function defaults() {
      const keys = state.contrast.images.map((one) => one.key);
      if (!keys.includes(state.a)) state.a = keys[0];
      if (!keys.includes(state.b) || state.b === state.a) state.b = keys.find((key) => key !== state.a) || null;
      if (!state.b) state.mode = "side";
    }

    async function paint(canvas, entry, from, to) {
      const { rows, cols, across, name } = state.plane;
      const index = slice();
      const x = (index % across) * cols;
      const y = Math.floor(index / across) * rows;
      const turn = state.turn;
      const sheet = await picture(entry.sprites[name]);
      const drawn = state.lines && entry.lines[name] ? await picture(entry.lines[name]) : null;
      if (turn !== state.turn) return;
      const pen = canvas.getContext("2d");
      pen.imageSmoothingQuality = "high";
      const left = from * cols;
      const width = (to - from) * cols;
      if (width <= 0) return;
      const scale = canvas.width / cols;
      pen.drawImage(sheet, x + left, y, width, rows, left * scale, 0, width * scale, rows * scale);
      if (drawn) {
        const n = OUTLINE_ENLARGE;
        pen.drawImage(drawn, (x + left) * n, y * n, width * n, rows * n, left * scale, 0, width * scale, rows * scale);
      }
    }

    function tile(caption) {
      const { rows, cols, marks } = state.plane;
      const canvas = make("canvas", { width: cols * 3, height: rows * 3, role: "img", "aria-label": caption });
      const cross = make("div", { class: "cross" });
      const frame = make("div", { class: "frame" }, canvas, cross,
        make("span", { class: "mark first", text: marks[0] }), make("span", { class: "mark last", text: marks[1] }));
      return { canvas, frame, cross, figure: make("figure", { class: "tile" }, frame) };
    }

    function sideBySide() {
      const tiles = state.contrast.images.map((entry) => {
        const one = tile(entry.name);
        one.figure.append(make("figcaption", { text: entry.name }));
        one.paint = () => paint(one.canvas, entry, 0, 1);
        return one;
      });
      for (const one of tiles) {
        one.frame.addEventListener("pointermove", (event) => {
          const box = one.frame.getBoundingClientRect();
          for (const other of tiles) {
            other.cross.style.display = other === one ? "none" : "block";
            other.cross.style.left = (100 * (event.clientX - box.left)) / box.width + "%";
            other.cross.style.top = (100 * (event.clientY - box.top)) / box.height + "%";
          }
        });
        one.frame.addEventListener("pointerleave", () => tiles.forEach((other) => (other.cross.style.display = "none")));
      }
      stage.replaceChildren(...tiles.map((one) => one.figure));
      return () => tiles.forEach((one) => one.paint());
    }

    function slider() {
      const one = tile("left: " + image(state.a).name + ", right: " + image(state.b).name);
      one.frame.append(make("span", { class: "tag a", text: image(state.a).name }),
        make("span", { class: "tag b", text: image(state.b).name }));
      const range = make("input", { type: "range", min: 0, max: 100, value: 100 * state.split, "aria-label": "divider" });
      const move = (share) => {
        state.split = Math.min(1, Math.max(0, share));
        range.value = 100 * state.split;
        draw();
      };
      const follow = (event) => {
        if (event.type === "pointermove" && !event.buttons) return;
        const box = one.frame.getBoundingClientRect();
        move((event.clientX - box.left) / box.width);
      };
      range.addEventListener("input", () => move(range.value / 100));
      one.frame.addEventListener("pointerdown", follow);
      one.frame.addEventListener("pointermove", follow);
      one.frame.style.cursor = "ew-resize";
      one.figure.append(make("div", { class: "split" }, make("span", { text: "Divider" }), range));
      stage.replaceChildren(one.figure);
      async function draw() {
        state.turn += 1;
        await paint(one.canvas, image(state.a), 0, state.split);
        await paint(one.canvas, image(state.b), state.split, 1);
        const pen = one.canvas.getContext("2d");
        pen.fillStyle = "#ffb000";
        pen.fillRect(state.split * one.canvas.width - 1, 0, 2, one.canvas.height);
      }
      return draw;
    }

    function flicker() {
      const one = tile(image(state.a).name + " or " + image(state.b).name);
      const tag = make("span", { class: "tag a" });
      one.frame.append(tag);
      stage.replaceChildren(one.figure);
      return () => {
        const entry = image(state.second ? state.b : state.a);
        tag.textContent = entry.name;
        paint(one.canvas, entry, 0, 1);
      };
    }

    function update() {
      state.turn += 1;
      state.draw();
      position.textContent = { axial: "z", coronal: "y", sagittal: "x" }[state.plane.name] + " = " + state.plane.mm[slice()] + " mm";
    }

    function build() {
      state.turn += 1;
      stage.classList.toggle("single", state.mode !== "side");
      state.draw = { side: sideBySide, slider, flicker }[state.mode]();
      scroll.max = state.plane.mm.length - 1;
      scroll.value = slice();
      update();
    }

    const scroll = make("input", { type: "range", min: 0, "aria-label": "slice" });
    const position = make("output", {});
    scroll.addEventListener("input", () => {
      state.share = scroll.value / scroll.max;
      update();
    });

    function panel() {
      stop();
      defaults();
      const parts = [];
      if (data.contrasts.length > 1) {
        parts.push(choice("contrast", data.contrasts.map((one) => [one.name, one.name]), state.contrast.name, (name) => {
          state.contrast = data.contrasts.find((one) => one.name === name);
          panel();
        }));
      }
      if (!data.plain && state.b) {
        const modes = [["side", "Side by side"], ["slider", "Slider"], ["flicker", "Flicker"]];
        parts.push(choice("comparison", modes, state.mode, (mode) => {
          state.mode = mode;
          panel();
        }));
      }
      const planes = data.planes.map((one) => [one.name, one.name[0].toUpperCase() + one.name.slice(1)]);
      parts.push(choice("plane", planes, state.plane.name, (name) => {
        state.plane = data.planes.find((one) => one.name === name);
        build();
      }));
      if (state.mode !== "side" && state.contrast.images.length > 2) {
        const pick = (key) => (value) => {
          state[key] = value;
          panel();
        };
        parts.push(select("first image", state.contrast.images, state.a, pick("a")));
        parts.push(select("second image", state.contrast.images, state.b, pick("b")));
      }
      if (state.mode === "flicker") {
        const play = make("button", { type: "button", text: "▶ Play" });
        const swap = make("button", { type: "button", text: "Swap" });
        swap.addEventListener("click", () => {
          state.second = !state.second;
          update();
        });
        play.addEventListener("click", () => {
          if (state.timer) stop();
          else state.timer = setInterval(() => swap.click(), FLICKER_MS);
          play.textContent = state.timer ? "❚❚ Pause" : "▶ Play";
        });
        parts.push(make("span", {}, play, " ", swap));
      }
      if (state.contrast.images.some((one) => Object.keys(one.lines).length)) {
        const box = make("input", { type: "checkbox" });
        box.checked = state.lines;
        box.addEventListener("change", () => {
          state.lines = box.checked;
          build();
        });
        parts.push(make("label", {}, box, " tissue outlines"));
      }
      parts.push(make("label", { class: "slice" }, make("span", { text: "Slice" }), scroll, position));
      const held = document.activeElement;
      const legend = controls.contains(held) && held.closest("fieldset") ? held.closest("fieldset").textContent : null;
      controls.replaceChildren(...parts);
      const again = [...controls.querySelectorAll("fieldset")].find((one) => one.textContent === legend);
      if (again) again.querySelector("input:checked").focus();
      build();
    }
    panel();
  }

  document.querySelectorAll(".viewer").forEach(start);

  const links = new Map([...document.querySelectorAll("nav.toc a")].map((one) => [one.hash.slice(1), one]));
  if ("IntersectionObserver" in window) {
    const seen = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        if (!entry.isIntersecting) continue;
        links.forEach((one) => one.classList.remove("here"));
        const link = links.get(entry.target.id);
        if (link) link.classList.add("here");
      }
    }, { rootMargin: "0px 0px -75% 0px" });
    document.querySelectorAll("section[id]").forEach((one) => seen.observe(one));
  }
})();
