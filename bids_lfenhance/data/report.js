document.documentElement.classList.remove("no-js");
(function () {
  const VOLUMES = new Map([...document.querySelectorAll("script.volumes")].map((one) => {
    const data = JSON.parse(one.textContent);
    return [data.id, data];
  }));
  const FLICKER_MS = 700, MOST_ZOOM = 8, WHEEL_STEP = 40, SCROLLING_MS = 300, NOISE = 8;
  const FLOORS = { mask: ["mask"], tissue: [null, "GM", "WM"] };
  let count = 0, scrolled = 0;
  addEventListener("scroll", () => (scrolled = performance.now()), { passive: true });

  function choice(legend, options, chosen, act) {
    const group = make("fieldset", { class: legend }, make("legend", { text: legend }));
    const name = "choice" + (count += 1);
    for (const [value, text] of options) {
      const input = make("input", { type: "radio", name, value });
      input.checked = value === chosen;
      input.addEventListener("change", () => act(value));
      group.append(make("label", {}, input, make("span", { text })));
    }
    return group;
  }

  function select(label, options, chosen, act) {
    const list = make("select", { "aria-label": label });
    for (const [value, text] of options) list.append(make("option", { value, text }));
    list.value = chosen;
    list.addEventListener("change", () => act(list.value));
    return list;
  }

  function button(text, label, act) {
    const one = make("button", { type: "button", text, "aria-label": label, title: label });
    one.addEventListener("click", act);
    return one;
  }

  const capital = (word) => word[0].toUpperCase() + word.slice(1);

  function start(root) {
    const data = VOLUMES.get(root.dataset.viewer), kind = root.dataset.images;
    const contrasts = data.contrasts.filter((one) => one[kind].length);
    const state = {
      contrast: contrasts[0], plane: "axial", slice: { ...data.start }, mode: "side", over: "none", noise: false,
      a: null, b: null, split: 0.5, second: false, timer: null, turn: 0, zoom: 1, x: 0.5, y: 0.5, wheel: 0,
    };
    const controls = make("div", { class: "controls" });
    const stage = make("div", { class: "stage", tabindex: 0, role: "application", "aria-label": "images: arrow keys change the slice" });
    const scroll = make("input", { type: "range", min: 0, "aria-label": "slice" });
    const position = make("output", {}), where = make("output", { class: "where" });
    root.append(controls, stage);

    const images = () => state.contrast[kind];
    const image = (key) => images().find((one) => one.key === key);
    const home = (key) => data.id + "/" + state.contrast.name + "/" + key;
    const last = () => data.size[PLANES[state.plane].along] - 1;
    const overlays = () => {
      const found = [["none", "No outlines"], ["mask", "Brain mask"], ["tissue", "Tissue"]];
      return Object.keys(state.contrast.regions).length ? [...found, ["regions", "Regions"]] : found;
    };

    function defaults() {
      const keys = images().map((one) => one.key);
      if (!keys.includes(state.a)) state.a = keys[0];
      if (!keys.includes(state.b) || state.b === state.a) state.b = keys.find((key) => key !== state.a) || null;
      if (!state.b) state.mode = "side";
    }

    // The labels of an image: its own, those of the image that a map or one possible image is of, or none.
    function labels(key, over) {
      const from = state.contrast[over === "regions" ? "regions" : "tissue"];
      return from[key] || from[key.split("-")[0].replace(/Sample$/, "")];
    }

    async function overlay(key) {
      if (state.over === "none" || !labels(key, state.over)) return [];
      const slice = cut(await sheet(labels(key, state.over)), data, state.plane, state.slice[state.plane]);
      if (state.over === "regions") return [tinted(slice, data.regions)];
      return FLOORS[state.over].flatMap((name, i) => (name ? [outline(slice, i + 1, data.colours[name])] : []));
    }

    async function paint(one, entry, from, to) {
      const turn = state.turn;
      const slice = cut(await sheet(home(entry.key)), data, state.plane, state.slice[state.plane]);
      const drawn = [canvasOf(slice), ...(await overlay(entry.key))];
      if (turn !== state.turn || to <= from) return;
      const { width, height } = one.canvas;
      const pen = one.canvas.getContext("2d");
      pen.imageSmoothingQuality = "high";
      pen.save();
      pen.beginPath();
      pen.rect(from * width, 0, (to - from) * width, height);
      pen.clip();
      pen.fillRect(0, 0, width, height);
      pen.translate(width / 2, height / 2);
      pen.scale(state.zoom, state.zoom);
      for (const layer of drawn) pen.drawImage(layer, -state.x * width, -state.y * height, width, height);
      pen.restore();
      one.canvas.dataset.slice = state.slice[state.plane];
      one.frame.dataset.image = entry.key;
    }

    function tile(caption) {
      const { across, up, marks } = PLANES[state.plane];
      const size = { width: data.size[across] * PIXELS, height: data.size[up] * PIXELS };
      const canvas = make("canvas", { ...size, role: "img", "aria-label": caption });
      if (state.noise) canvas.style.filter = "brightness(" + NOISE + ")";
      const cross = make("div", { class: "cross" });
      const frame = make("div", { class: "frame", style: "--ratio: " + size.width / size.height }, canvas, cross);
      const named = make("figcaption", {}, make("span", { text: marks[0] }), make("b", { text: caption }), make("span", { text: marks[1] }));
      return { canvas, frame, cross, named: named.querySelector("b"), figure: make("figure", { class: "tile" }, frame, named) };
    }

    function sideBySide() {
      const tiles = images().map((entry) => {
        const one = tile(entry.name);
        one.paint = () => paint(one, entry, 0, 1);
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
      const one = tile(image(state.a).name + " | " + image(state.b).name);
      const range = make("input", { type: "range", min: 0, max: 100, value: 100 * state.split, "aria-label": "divider" });
      range.addEventListener("input", () => {
        state.split = range.value / 100;
        draw();
      });
      one.figure.append(make("div", { class: "split" }, range));
      stage.replaceChildren(one.figure);
      async function draw() {
        state.turn += 1;
        await paint(one, image(state.a), 0, state.split);
        await paint(one, image(state.b), state.split, 1);
        const pen = one.canvas.getContext("2d");
        pen.fillStyle = "#ffb000";
        pen.fillRect(state.split * one.canvas.width - 1, 0, 2, one.canvas.height);
        pen.fillStyle = "#000";
      }
      return draw;
    }

    function flicker() {
      const one = tile("");
      stage.replaceChildren(one.figure);
      return () => {
        const entry = image(state.second ? state.b : state.a);
        one.named.textContent = entry.name;
        paint(one, entry, 0, 1);
      };
    }

    function update() {
      state.turn += 1;
      state.draw();
      const { along } = PLANES[state.plane], index = state.slice[state.plane];
      scroll.value = index;
      position.textContent = "xyz"[along] + " = " + Math.round(data.origin[along] + data.zoom[along] * index) + " mm";
    }

    function build() {
      state.turn += 1;
      stage.classList.toggle("single", state.mode !== "side");
      state.draw = { side: sideBySide, slider, flicker }[state.mode]();
      scroll.max = last();
      update();
    }

    const act = {
      step(by) {
        const wanted = state.slice[state.plane] + by;
        if (wanted < 0 || wanted > last()) return false;
        state.slice[state.plane] = wanted;
        update();
        return true;
      },
      plane(name) {
        state.plane = name;
        Object.assign(state, { zoom: 1, x: 0.5, y: 0.5 });
        panel();
      },
      zoom(factor, x = 0, y = 0) { // keeps the place at (x, y), shares of the picture from its middle, where it is
        const zoom = Math.min(MOST_ZOOM, Math.max(1, state.zoom * factor));
        state.x += x / state.zoom - x / zoom;
        state.y += y / state.zoom - y / zoom;
        state.zoom = zoom;
        act.move(0, 0);
      },
      move(x, y) { // by shares of the picture; it never leaves the frame
        const rim = 0.5 / state.zoom;
        state.x = Math.min(1 - rim, Math.max(rim, state.x - x / state.zoom));
        state.y = Math.min(1 - rim, Math.max(rim, state.y - y / state.zoom));
        update();
      },
      mode(name) {
        state.mode = state.b ? name : "side";
        panel();
      },
      over(name) {
        state.over = name;
        panel();
      },
      noise() {
        state.noise = !state.noise;
        panel();
      },
      swap() {
        state.second = !state.second;
        update();
      },
    };

    const after = (list, one) => list[(list.indexOf(one) + 1) % list.length];
    const KEYS = {
      ArrowUp: () => act.step(1), ArrowRight: () => act.step(1), ArrowDown: () => act.step(-1), ArrowLeft: () => act.step(-1),
      PageUp: () => act.step(10), PageDown: () => act.step(-10),
      1: () => act.plane("axial"), 2: () => act.plane("coronal"), 3: () => act.plane("sagittal"),
      "+": () => act.zoom(1.25), "-": () => act.zoom(0.8), 0: () => act.zoom(1 / state.zoom),
      m: () => act.mode(after(["side", "slider", "flicker"], state.mode)), n: act.noise,
      o: () => act.over(after(overlays().map(([name]) => name), state.over)), " ": act.swap,
    };
    root.addEventListener("keydown", (event) => {
      const key = event.key.length === 1 ? event.key.toLowerCase() : event.key, on = event.target;
      if (!KEYS[key] || event.ctrlKey || event.metaKey || event.altKey || on.matches("select, [type=range]")) return;
      if (on !== stage && (key === " " || (on.type === "radio" && key.startsWith("Arrow")))) return; // a control's own
      event.preventDefault();
      KEYS[key]();
    });
    // Who chose with the mouse goes on with the keys of the images.
    controls.addEventListener("click", (event) => {
      if (event.detail && !event.target.closest("select, .slice")) setTimeout(() => stage.focus({ preventScroll: true }));
    });

    function placed(event) {
      const frame = event.target.closest && event.target.closest(".frame");
      if (!frame) return null;
      const box = frame.getBoundingClientRect();
      const x = (event.clientX - box.left) / box.width - 0.5, y = (event.clientY - box.top) / box.height - 0.5;
      const shown = state.mode === "slider" ? (x + 0.5 < state.split ? state.a : state.b) : frame.dataset.image;
      return { x, y, box, image: shown };
    }

    stage.addEventListener("wheel", (event) => {
      const place = placed(event);
      if (!place || performance.now() - scrolled < SCROLLING_MS) return; // who scrolls past does not stop here
      if (event.ctrlKey) {
        event.preventDefault();
        act.zoom(Math.exp(-event.deltaY / 300), place.x, place.y);
        return;
      }
      state.wheel += event.deltaY;
      const steps = -Math.trunc(state.wheel / WHEEL_STEP);
      if (!steps || act.step(Math.sign(steps))) event.preventDefault(); // at the last slice the page goes on
      if (steps) state.wheel = 0;
    }, { passive: false });

    let held = null;
    stage.addEventListener("pointerdown", (event) => {
      held = event.button === 0 && placed(event) ? { x: event.clientX, y: event.clientY } : null;
      if (held && state.mode === "slider" && state.zoom === 1) divide(event);
    });
    stage.addEventListener("pointermove", (event) => {
      const place = placed(event);
      if (place) showPlace(place);
      if (!held || !place) return;
      if (state.mode === "slider" && state.zoom === 1) divide(event);
      else act.move((event.clientX - held.x) / place.box.width, (event.clientY - held.y) / place.box.height);
      held = { x: event.clientX, y: event.clientY };
    });
    addEventListener("pointerup", () => (held = null));
    stage.addEventListener("dblclick", () => act.zoom(state.zoom > 1 ? 1 / state.zoom : 2));

    function divide(event) {
      state.split = Math.min(1, Math.max(0, placed(event).x + 0.5));
      const range = stage.querySelector(".split input");
      range.value = 100 * state.split;
      range.dispatchEvent(new Event("input"));
    }

    // Where the pointer is, in mm, and in which region.
    async function showPlace({ x, y, image }) {
      const { across, up, along } = PLANES[state.plane];
      const voxel = [0, 0, 0];
      voxel[along] = state.slice[state.plane];
      voxel[across] = Math.floor((state.x + x / state.zoom) * data.size[across]);
      voxel[up] = data.size[up] - 1 - Math.floor((state.y + y / state.zoom) * data.size[up]);
      const millimetres = voxel.map((index, axis) => Math.round(data.origin[axis] + data.zoom[axis] * index));
      const from = image && labels(image, "regions");
      let name = "";
      if (from) {
        const one = await sheet(from);
        const [vx, vy, vz] = voxel;
        const row = Math.floor(vz / data.across) * data.size[1] + data.size[1] - 1 - vy;
        name = (data.regions[one.words[row * one.width + (vz % data.across) * data.size[0] + vx] & 255] || [""])[0];
      }
      where.textContent = millimetres.join(", ") + " mm" + (name ? ": " + name : "");
    }

    scroll.addEventListener("input", () => {
      state.slice[state.plane] = Number(scroll.value);
      update();
    });

    function panel() {
      const playing = state.timer && state.mode === "flicker";
      clearInterval(state.timer);
      state.timer = null;
      defaults();
      const parts = [];
      if (contrasts.length > 1) {
        parts.push(choice("contrast", contrasts.map((one) => [one.name, one.name]), state.contrast.name, (name) => {
          state.contrast = contrasts.find((one) => one.name === name);
          panel();
        }));
      }
      if (state.b) parts.push(choice("mode", [["side", "Side by side"], ["slider", "Slider"], ["flicker", "Flicker"]], state.mode, act.mode));
      parts.push(choice("plane", Object.keys(PLANES).map((name) => [name, capital(name)]), state.plane, act.plane));
      if (state.mode !== "side" && images().length > 2) {
        const listed = images().map((one) => [one.key, one.name]);
        for (const key of ["a", "b"]) {
          parts.push(select(key === "a" ? "first image" : "second image", listed, state[key], (value) => {
            state[key] = value;
            panel();
          }));
        }
      }
      if (state.mode === "flicker") {
        const play = button("Play", "change every " + FLICKER_MS + " ms", () => {
          if (state.timer) clearInterval(state.timer);
          state.timer = state.timer ? null : setInterval(act.swap, FLICKER_MS);
          play.textContent = state.timer ? "Pause" : "Play";
        });
        if (playing) play.click();
        parts.push(play, button("Swap", "show the other image", act.swap));
      }
      parts.push(select("outlines", overlays(), state.over, act.over));
      if (kind === "images") {
        const noise = button("Noise", "make the noise of the background visible", act.noise);
        noise.setAttribute("aria-pressed", state.noise);
        parts.push(noise);
      }
      parts.push(make("span", { class: "zoom" }, button("−", "zoom out", () => act.zoom(0.8)), button("+", "zoom in", () => act.zoom(1.25))));
      parts.push(make("label", { class: "slice" }, make("span", { text: "Slice" }), scroll, position), where);
      const focused = controls.contains(document.activeElement) ? document.activeElement : null;
      const group = focused && focused.closest("fieldset"), label = focused && focused.getAttribute("aria-label");
      controls.replaceChildren(...parts);
      const again = group ? "fieldset." + group.className + " input:checked" : label && '[aria-label="' + label + '"]';
      if (again && controls.querySelector(again)) controls.querySelector(again).focus();
      build();
    }

    // While the volumes are decoded, the picture for print lies over the stage: nobody is shown black.
    async function cover() {
      const printed = root.nextElementSibling && root.nextElementSibling.querySelector("img");
      if (!printed) return;
      const picture = make("img", { class: "cover", src: printed.src, alt: "" });
      stage.append(picture);
      await Promise.allSettled(images().map((one) => sheet(home(one.key))));
      picture.remove();
    }
    panel();
    cover();
  }

  // A viewer begins when it comes near the screen: its volumes are decoded only then.
  const near = new IntersectionObserver((entries) => {
    for (const entry of entries.filter((one) => one.isIntersecting)) {
      near.unobserve(entry.target);
      start(entry.target);
    }
  }, { rootMargin: "400px" });
  document.querySelectorAll(".viewer").forEach((one) => near.observe(one));

  addEventListener("beforeprint", () => document.querySelectorAll(".banner details").forEach((one) => (one.open = true)));

  document.querySelectorAll("form.rating").forEach((form) => {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const rated = JSON.parse(form.querySelector("script").textContent);
      form.querySelectorAll("fieldset").forEach((group, i) => {
        const chosen = group.querySelector("input:checked");
        rated.images[i].rating = chosen ? chosen.value : null;
      });
      rated.comment = form.elements.comment.value;
      rated.rater = form.elements.rater.value;
      rated.date = new Date().toISOString();
      const name = [rated.participant_id, rated.session_id, "rating"].filter(Boolean).join("_") + ".json";
      const href = URL.createObjectURL(new Blob([JSON.stringify(rated, null, 2) + "\n"], { type: "application/json" }));
      make("a", { href, download: name }).click();
      setTimeout(() => URL.revokeObjectURL(href), 1000);
    });
  });

  const links = new Map([...document.querySelectorAll("nav.toc a")].map((one) => [one.hash.slice(1), one]));
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries.filter((one) => one.isIntersecting)) {
      links.forEach((one) => one.classList.remove("here"));
      const link = links.get(entry.target.id);
      if (link) link.classList.add("here");
    }
  }, { rootMargin: "0px 0px -75% 0px" });
  document.querySelectorAll("section[id]").forEach((one) => seen.observe(one));
})();
