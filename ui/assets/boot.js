// Sets the kept theme before the first paint, then loads the page's module. A file of its own because the page's
// Content-Security-Policy allows no inline scripts.
try {
  document.documentElement.dataset.theme = localStorage.getItem("tripline-theme") ?? "auto";
} catch {
  document.documentElement.dataset.theme = "auto";
}

const booting = document.getElementById("booting");
try {
  const { default: init } = await import("/tripline.js");
  await init({ module_or_path: "/tripline_bg.wasm" });
  booting.remove();
} catch (error) {
  booting.textContent = `Tripline's page could not start: ${error}. Reload it; if that does not help, use a newer browser.`;
}
