import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    environment: 'node',
    setupFiles: ['test/setup.ts'],
    pool: 'threads',
    environmentOptions: { happyDOM: { settings: { enableIframePageLoading: true } } },
  },
});
