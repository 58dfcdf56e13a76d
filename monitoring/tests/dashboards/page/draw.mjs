// Draws dashboards in headless Chromium: node draw.mjs MODULES FOLDER NAME...
//
// FOLDER/NAME.json holds a dashboard and the answers to its queries; FOLDER/NAME.png
// becomes its picture, FOLDER/NAME.report.json what each panel shows. MODULES is the
// folder with node_modules.

import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const [modules, folder, ...names] = process.argv.slice(2);
const here = path.dirname(fileURLToPath(import.meta.url));
const require = createRequire(path.join(modules, 'package.json'));
const esbuild = require('esbuild');
const { chromium } = require('playwright-core');
const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' };
const SETTLE_MS = 2500;

const site = path.join(folder, 'site');
await mkdir(site, { recursive: true });
await copyFile(path.join(here, 'page.html'), path.join(site, 'page.html'));
await esbuild.build({
  entryPoints: [path.join(here, 'page.tsx')],
  bundle: true,
  minify: true,
  outfile: path.join(site, 'page.js'),
  nodePaths: [path.join(modules, 'node_modules')],
  define: { 'process.env.NODE_ENV': '"production"' },
  loader: { '.svg': 'dataurl', '.ttf': 'dataurl', '.woff': 'dataurl', '.woff2': 'dataurl' },
  logLevel: 'error',
});

const server = createServer(async (request, response) => {
  const name = new URL(request.url, 'http://localhost').pathname.slice(1);
  const file = name.startsWith('public/')
    ? path.join(modules, 'node_modules/@grafana/ui/dist', path.normalize(name))
    : path.join(site, path.basename(name));
  try {
    const body = await readFile(file);
    response.writeHead(200, { 'content-type': TYPES[path.extname(file)] ?? 'application/octet-stream' });
    response.end(body);
  } catch {
    response.writeHead(404).end();
  }
});
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1', '--disable-gpu', ...(process.getuid() === 0 ? ['--no-sandbox'] : [])],
});
try {
  for (const name of names) {
    const page = await browser.newPage({ viewport: { width: 1600, height: 1000 } });
    const errors = [];
    page.on('pageerror', (error) => errors.push(String(error.stack ?? error)));
    await page.goto(`http://127.0.0.1:${server.address().port}/page.html`);
    const data = JSON.parse(await readFile(path.join(folder, `${name}.json`), 'utf8'));
    await page.evaluate((data) => window.draw(data), data);
    const height = await page.evaluate(() => document.getElementById('root').offsetHeight);
    await page.setViewportSize({ width: 1600, height });
    await page.waitForTimeout(SETTLE_MS);
    await page.screenshot({ path: path.join(folder, `${name}.png`), fullPage: true });
    const panels = await page.evaluate(() => window.report());
    await writeFile(path.join(folder, `${name}.report.json`), JSON.stringify({ errors, panels }, null, 1));
    await page.close();
  }
} finally {
  await browser.close();
  server.close();
}
