// Asking the service, and showing its pictures.

const IMAGE_PX = 360; // enough for a card on a sharp display
const RETRIES = 4; // of what is refused because the service is busy

export const access = { key: sessionStorage.getItem("udml-key") };

export class Problem extends Error {
  constructor(status, detail, code = "") {
    super(detail);
    this.status = status;
    this.code = code;
  }
}

export async function call(path, options = {}) {
  const headers = { ...options.headers };
  if (access.key) headers.Authorization = `Bearer ${access.key}`;
  for (let attempt = 0; ; attempt++) {
    let response;
    try {
      response = await fetch(path, { ...options, headers });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Problem(0, "The service cannot be reached.");
    }
    if (response.ok) return response;
    if ((response.status === 503 || response.status === 429) && attempt < RETRIES) {
      await new Promise((done) => setTimeout(done, 1000 * Number(response.headers.get("Retry-After") || 1)));
      continue;
    }
    const problem = await response.json().catch(() => ({}));
    throw new Problem(response.status, problem.detail || `The service answered ${response.status}.`, problem.code);
  }
}

export const ask = async (path, options) => (await call(path, options)).json();

// A page cannot put a key on an <img>, so with one its bytes are fetched when it comes into view.
const inView = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    inView.unobserve(target);
    fetchInto(target);
  }
}, { rootMargin: "200px" });

function fetchInto(target) {
  const { address } = target.dataset;
  call(address)
    .then((response) => response.blob())
    .then((blob) => {
      if (target.dataset.address !== address) return; // it is to show another one by now
      target.addEventListener("load", () => URL.revokeObjectURL(target.src), { once: true });
      target.src = URL.createObjectURL(blob);
    })
    .catch(() => {});
}

// `atOnce` where the image is drawn from and never comes into view itself.
export function show(image, id, atOnce = false) {
  const address = `v1/items/${id}/image?side_px=${IMAGE_PX}`;
  if (access.key) {
    image.dataset.address = address;
    if (atOnce) fetchInto(image);
    else inView.observe(image);
    return;
  }
  let attempts = 0;
  image.onerror = () => attempts++ < RETRIES && setTimeout(() => (image.src = address), 1000 * attempts);
  image.src = address;
}

export const plural = (count, one, many) => `${count.toLocaleString()} ${count === 1 ? one : many}`;
export const called = (item) => (item.label ? `${item.label}, ${item.source}` : item.source);
