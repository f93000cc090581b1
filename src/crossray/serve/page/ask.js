// Questions to the server, and the pictures among its answers.

let waiting = 0;

async function answered(path, options) {
  document.body.toggleAttribute("data-waiting", ++waiting > 0);
  try {
    const answer = await fetch(path, options).catch(() => {
      throw new Error("The server does not answer. Is crossray serve still running?");
    });
    if (answer.ok) return answer;
    const content = await answer.json().catch(() => ({}));
    throw new Error(content.problem ?? `The server refused (${answer.status}). Try again.`);
  } finally {
    document.body.toggleAttribute("data-waiting", --waiting > 0);
  }
}

export async function ask(path, body) {
  const options = body === undefined ? {} : { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
  return (await answered(path, options)).json();
}

export const upload = async (file) => (await answered("/api/film", { method: "POST", body: file })).json();

export const forget = (film) => fetch(`/api/film/${film}`, { method: "DELETE" }).catch(() => {});

export const picture = async (film) => greyOf(await (await answered(`/api/film/${film}/picture`)).blob());

export const pictureIn = (base64) => greyOf(new Blob([Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0))], { type: "image/png" }));

async function greyOf(blob) { // the values of a grey picture
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none" });
  const { width, height } = bitmap;
  const paper = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  paper.drawImage(bitmap, 0, 0);
  const { data } = paper.getImageData(0, 0, width, height);
  const values = new Uint8ClampedArray(width * height);
  for (let k = 0; k < values.length; k++) values[k] = data[4 * k];
  return { width, height, values };
}
