// Parts of the page that are hard to see: texts of under 4.5 : 1 (3 : 1 where large), edges of controls of under 3 : 1 (WCAG 2.2, AA).
const channel = (value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
const luminance = ([r, g, b]) => 0.2126 * channel(r / 255) + 0.7152 * channel(g / 255) + 0.0722 * channel(b / 255);
const parsed = (colour) => {
  const numbers = colour.match(/[\d.]+/g).map(Number);
  return numbers.length === 4 ? numbers : [...numbers, 1];
};
const over = ([r, g, b, a], under) => [r, g, b].map((value, index) => value * a + under[index] * (1 - a));
const ratio = (one, other) => {
  const [bright, dim] = [luminance(one), luminance(other)].sort((a, b) => b - a);
  return (bright + 0.05) / (dim + 0.05);
};
const behind = (element) => {
  const layers = [];
  for (let each = element; each; each = each.parentElement) {
    const colour = parsed(getComputedStyle(each).backgroundColor);
    layers.push(colour);
    if (colour[3] === 1) break;
  }
  return layers.reverse().reduce((under, layer) => over(layer, under), [255, 255, 255]);
};
const errors = [];
const judge = (element, colour, wanted, what) => {
  const under = behind(element);
  const found = ratio(over(parsed(colour), under), under);
  if (found < wanted) errors.push(`${what}: ${found.toFixed(2)} of ${wanted}, ${colour} on ${under.map(Math.round)}`);
};
const seen = (element) =>
  element.checkVisibility({ visibilityProperty: true }) && !element.closest(".visually-hidden, :disabled");
const root = document.querySelector("dialog[open]") ?? document.body;
let texts = 0;
const walk = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
while (walk.nextNode()) {
  const element = walk.currentNode.parentElement;
  if (!walk.currentNode.data.trim() || !seen(element)) continue;
  texts += 1;
  const style = getComputedStyle(element);
  const size = parseFloat(style.fontSize);
  const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
  judge(element, style.color, large ? 3 : 4.5, walk.currentNode.data.trim().slice(0, 40));
}
for (const control of root.querySelectorAll("input, select, button")) {
  if (!seen(control) || ["file", "checkbox", "radio"].includes(control.type)) continue;
  const style = getComputedStyle(control);
  const name = control.id || control.textContent;
  if (control.placeholder) judge(control, getComputedStyle(control, "::placeholder").color, 4.5, `placeholder of ${name}`);
  if (control.matches("input, select")) judge(control.parentElement, style.borderTopColor, 3, `edge of ${name}`);
}
for (const dot of root.querySelectorAll(".dot, .bar i"))
  if (seen(dot)) judge(dot.parentElement, getComputedStyle(dot).backgroundColor, 3, `mark ${dot.dataset.modality ?? "bar"}`);
return { texts, errors };
