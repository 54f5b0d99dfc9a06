// Light or dark: what the person chose in this browser, else what the system says. Runs before anything is painted.
(() => {
  const root = document.documentElement;
  const KEPT = "vbl-theme";
  const kept = () => { try { return localStorage.getItem(KEPT); } catch { return null; } };
  const keep = (theme) => { try { localStorage.setItem(KEPT, theme); } catch { /* a browser that keeps nothing */ } };
  const systemDark = matchMedia("(prefers-color-scheme: dark)");

  const chosen = kept();
  if (chosen === "light" || chosen === "dark") root.dataset.theme = chosen;

  document.addEventListener("click", (event) => {
    if (!event.target.closest?.("#theme")) return;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : systemDark.matches;
    root.dataset.theme = dark ? "light" : "dark";
    keep(root.dataset.theme);
  });
})();
