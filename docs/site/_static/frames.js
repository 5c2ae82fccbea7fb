// A widget without a kernel: its slider shows one of the frames that were stored with the page.
for (const box of document.querySelectorAll(".frames")) {
  const slider = box.querySelector("input");
  const value = box.querySelector("output");
  const shown = box.querySelector(".frame");
  const frames = [...box.querySelectorAll("template")];

  slider.addEventListener("input", () => {
    const frame = frames[slider.value];
    shown.replaceChildren(frame.content.cloneNode(true));
    value.textContent = frame.dataset.value;
    slider.setAttribute("aria-valuetext", frame.dataset.value);
  });
  // Fetched before they are needed, so that no frame is blank while its picture comes.
  const fetchPictures = () => {
    for (const frame of frames) {
      for (const picture of frame.content.querySelectorAll("img")) {
        new Image().src = picture.getAttribute("src");
      }
    }
  };
  for (const event of ["focus", "pointerenter"]) {
    slider.addEventListener(event, fetchPictures, { once: true });
  }
  box.querySelector(".frames-control").hidden = false; // without scripts there is no slider
}
