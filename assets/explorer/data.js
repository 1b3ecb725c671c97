// What the page holds, read: numbers come plane by plane of bytes, deflated, in base64 (`PageBytes` in maury's sources).
const data = JSON.parse(document.getElementById("data").textContent);
const nStars = data.ids.length;

async function inflated(text) {
  const deflated = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([deflated]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Reader(new Uint8Array(await new Response(stream).arrayBuffer()));
}

class Reader {
  constructor(bytes) {
    this.bytes = bytes;
    this.at = 0;
  }

  // The planes of `n` numbers of `width` bytes, put together again.
  together(n, width) {
    const numbers = new Uint8Array(n * width);
    for (let plane = 0; plane < width; plane++) {
      for (let i = 0; i < n; i++) numbers[i * width + plane] = this.bytes[this.at++];
    }
    return numbers.buffer;
  }

  f32(n) {
    return new Float32Array(this.together(n, 4));
  }

  i16(n) {
    return Int16Array.from(new Uint16Array(this.together(n, 2)), (number) => (number >>> 1) ^ -(number & 1));
  }
}

// Columns of the stars by name, Float32Array each; those that tell of no star are not there.
const columns = {};

async function readColumns() {
  const read = async ([name, text]) => {
    columns[name] = (await inflated(text)).f32(nStars);
  };
  await Promise.all(Object.entries(data.columns).map(read));
}

let wavelength = null;
const modelsOfFold = new Map();

// Vectors, amounts and scatter of the models of a fold, read once.
async function foldModels(fold) {
  if (!modelsOfFold.has(fold)) {
    const nPixels = wavelength.length;
    const nOfFold = data.spectra.of_fold.filter((place) => place[0] === fold).length;
    const read = async (model) => {
      const vectors = await inflated(model.vectors);
      const steps = vectors.f32(model.n_vectors);
      const numbers = vectors.i16(model.n_vectors * nPixels);
      return {
        name: model.name,
        steps,
        numbers: Array.from(steps, (_, vector) => numbers.subarray(vector * nPixels, (vector + 1) * nPixels)),
        amounts: (await inflated(model.amounts)).f32(nOfFold * model.n_vectors),
        scatter: (await inflated(model.scatter)).f32(nPixels),
      };
    };
    modelsOfFold.set(fold, Promise.all(data.spectra.folds[fold].map(read)));
  }
  return modelsOfFold.get(fold);
}

// The best fit of a model for a star at some place of its fold; null where it has none.
function bestFit(model, place) {
  const n = model.steps.length;
  const amounts = model.amounts.subarray(place * n, place * n + n);
  if (n === 0 || Number.isNaN(amounts[0])) return null;
  const flux = new Float64Array(model.scatter.length);
  for (let vector = 0; vector < n; vector++) {
    const amount = amounts[vector] * model.steps[vector];
    const numbers = model.numbers[vector];
    if (amount !== 0) for (let j = 0; j < flux.length; j++) flux[j] += amount * numbers[j];
  }
  return flux;
}

// Observed flux and noise of a star, NaN where masked, and the models' best fits, NaN where these know nothing; null of a star
// whose spectrum is not on the page.
async function spectrumOf(star) {
  if (!data.spectra || !data.spectra.observed[star]) return null;
  wavelength ??= (await inflated(data.spectra.wavelength)).f32(nPixelsOfGrid());
  const [fold, place] = data.spectra.of_fold[star];
  const models = (await foldModels(fold)).map((model) => ({ name: model.name, scatter: model.scatter, flux: bestFit(model, place) }));
  const fitted = models.filter((model) => model.flux);
  const reference = fitted.length > 0 ? fitted[0].flux : new Float64Array(wavelength.length).fill(1);
  const reader = await inflated(data.spectra.observed[star]);
  const [leastNoise, leastStep] = reader.f32(2);
  const differences = reader.i16(wavelength.length);
  const numbers = reader.i16(wavelength.length);
  const [flux, noise] = [new Float64Array(wavelength.length), new Float64Array(wavelength.length)];
  for (let j = 0, code = 0; j < flux.length; j++) {
    code = (code + differences[j]) & 0xffff;
    noise[j] = code === 0 ? NaN : leastNoise * Math.exp((code - 1) / 32);
    flux[j] = reference[j] + Math.max(0.19 * noise[j], leastStep) * numbers[j];
  }
  // References are whole: what a model does not know is taken out at the end.
  for (const model of fitted) {
    model.flux = model.flux.map((value, j) => (Number.isNaN(model.scatter[j]) ? NaN : value));
  }
  return { flux, noise, models: fitted };
}

function nPixelsOfGrid() {
  const { chips } = data.spectra;
  return chips[chips.length - 1][1];
}
