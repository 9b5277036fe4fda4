import { vitePreprocess } from '@sveltejs/vite-plugin-svelte';

export default {
  preprocess: vitePreprocess(),
  // Styles are a file of their own: a strict policy lets no script write `<style>`.
  compilerOptions: { css: 'external', runes: true },
};
