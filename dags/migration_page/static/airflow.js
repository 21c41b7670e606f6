// The page inside of Airflow: its theme, and links out of the frame that Airflow keeps it in.

const inFrame = window.parent !== window;

function outer() {
  try { return inFrame && window.parent.document ? window.parent.document : null; } catch { return null; }
}

export const root = new URL("..", document.baseURI).pathname; // where Airflow's own pages begin

// The frame may neither open windows nor leave itself, so Airflow's document follows the link.
export function follow(event) {
  const link = event.target.closest("a[data-airflow]");
  const place = outer();
  if (!link || !place) return;
  event.preventDefault();
  const made = place.createElement("a");
  made.href = link.href;
  if (event.ctrlKey || event.metaKey || event.button === 1 || link.target === "_blank") made.target = "_blank";
  place.body.append(made);
  made.click();
  made.remove();
}

export function keepTheme() {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const place = outer();
  const apply = () => {
    let stored = "";
    try { stored = localStorage.getItem("theme") ?? ""; } catch { /* storage may be forbidden */ }
    const names = place?.documentElement.classList;
    const isDark = names?.contains("dark") || (!names?.contains("light") && (stored.includes("dark") || (!stored.includes("light") && dark.matches)));
    document.documentElement.dataset.theme = isDark ? "dark" : "light";
  };
  apply();
  dark.addEventListener("change", apply);
  if (place) new MutationObserver(apply).observe(place.documentElement, { attributes: true, attributeFilter: ["class"] });
}
