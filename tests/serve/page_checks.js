// What a page must keep, read off it: the notice on top, no sideways scrolling, names, contrast, sizes.
() => {
  const shown = (element) => element.checkVisibility({ visibilityProperty: true }) && element.getBoundingClientRect().width > 1;
  const number = (part) => { const share = part / 255; return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4; };
  const light = ([red, green, blue]) => 0.2126 * number(red) + 0.7152 * number(green) + 0.0722 * number(blue);
  const parts = (tone) => { const [red, green, blue, cover = 1] = tone.match(/[\d.]+/g).map(Number); return [red, green, blue, cover]; };
  const behind = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) layers.push(parts(getComputedStyle(at).backgroundColor));
    return layers.reverse().reduce((under, [red, green, blue, cover]) => [red, green, blue].map((part, k) => part * cover + under[k] * (1 - cover)), [0, 0, 0]);
  };
  const texts = [...document.body.querySelectorAll("*")].filter((element) => shown(element) && [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim()));
  const contrast = (element) => {
    const [a, b] = [light(parts(getComputedStyle(element).color)), light(behind(element))];
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  };
  const named = (element) => element.getAttribute("aria-label") || element.getAttribute("alt") || element.labels?.length || element.textContent.trim();
  const notice = document.getElementById("notice").getBoundingClientRect();
  const top = document.elementFromPoint(notice.x + notice.width / 2, notice.y + notice.height / 2);
  return {
    notice: top?.textContent,
    overflow: Math.max(0, document.documentElement.scrollWidth - innerWidth),
    unnamed: [...document.querySelectorAll("input, textarea, button, canvas, img, meter")].filter((element) => !named(element)).map((element) => element.outerHTML.slice(0, 80)),
    faint: texts.filter((element) => contrast(element) < 4.5).map((element) => `${element.textContent.trim().slice(0, 40)} ${contrast(element).toFixed(2)}`),
    smallest: Math.min(...texts.map((element) => parseFloat(getComputedStyle(element).fontSize))),
  };
}
