// Shows the cards that fit the pressed button and the chosen suite. Without it all are shown.
for (const bar of document.querySelectorAll(".filters")) {
  const cards = document.querySelectorAll(".card");
  const buttons = bar.querySelectorAll("button");
  const select = bar.querySelector("select");
  const shown = bar.querySelector("output");
  let kind = "";
  const apply = () => {
    let n = 0;
    for (const card of cards) {
      const fits = (!kind || card.dataset.kind === kind) && (!select.value || card.dataset.suite === select.value);
      card.hidden = !fits;
      n += fits;
    }
    for (const button of buttons) button.setAttribute("aria-pressed", button.value === kind);
    shown.textContent = n + " shown";
  };
  for (const button of buttons) button.addEventListener("click", () => { kind = button.value; apply(); });
  select.addEventListener("change", apply);
  bar.hidden = false;
  apply();
}
