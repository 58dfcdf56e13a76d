// Checks dashboards against the types of @grafana/schema 10.2.0:
// node schema.mjs MODULES FILE...
//
// A JSON schema is made of the TypeScript types of the dashboard, and of the options
// and field options of each kind of panel. Prints what does not fit, one a line.

import { readFileSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

const [modules, ...files] = process.argv.slice(2);
const require = createRequire(path.join(modules, 'package.json'));
const { createGenerator } = require('ts-json-schema-generator');
const Ajv = require('ajv').default;

const raw = path.join(modules, 'node_modules/@grafana/schema/dist/esm/raw');
const types = (folder) => {
  const at = path.join(raw, folder, 'x');
  return path.join(at, readdirSync(at).find((name) => name.endsWith('.d.ts')));
};
const ajv = new Ajv({ strict: false, allErrors: true });

function schemaOf(file, type, additionalProperties) {
  const generator = createGenerator({ path: file, type, skipTypeCheck: true, expose: 'all', additionalProperties });
  const schema = generator.createSchema(type);
  // The generator makes `string | false` of a dashboard's refresh into false.
  for (const definition of Object.values(schema.definitions)) {
    const refresh = definition.properties?.refresh;
    if (refresh && refresh.type === 'boolean') {
      definition.properties.refresh = { type: ['string', 'boolean'] };
    }
  }
  return ajv.compile(schema);
}

// Types that a file does not have: the kind has no such options.
const hasType = (file, type) => new RegExp(`export interface ${type}\\b`).test(readFileSync(file, 'utf8'));

const validators = new Map();
function validator(folder, type, additionalProperties = false) {
  const key = `${folder} ${type}`;
  if (!validators.has(key)) {
    const file = types(folder);
    validators.set(key, hasType(file, type) ? schemaOf(file, type, additionalProperties) : null);
  }
  return validators.get(key);
}

let found = 0;
function check(validate, value, where) {
  if (validate && !validate(value)) {
    for (const { instancePath, message, params } of validate.errors) {
      const more = params.additionalProperty ?? (params.allowedValues ? params.allowedValues.join(', ') : '');
      console.log(`${where}${instancePath}: ${message} ${more}`);
      found += 1;
    }
  }
}

let checked = 0;
for (const file of files) {
  const dashboard = JSON.parse(readFileSync(file, 'utf8'));
  const name = path.basename(file);
  check(validator('dashboard', 'Dashboard', true), dashboard, name);
  for (const panel of dashboard.panels.filter(({ type }) => type !== 'row')) {
    const where = `${name} ${panel.title}`;
    const folder = `composable/${panel.type}/panelcfg`;
    check(validator(folder, 'Options'), panel.options, `${where} options`);
    check(validator(folder, 'FieldConfig'), panel.fieldConfig.defaults.custom ?? {}, `${where} custom`);
    for (const target of panel.targets) {
      const query = target.datasource.type === 'loki' ? 'Loki' : 'Prometheus';
      const queries = `composable/${query.toLowerCase()}/dataquery`;
      check(validator(queries, query, true) ?? validator(queries, `${query}DataQuery`, true), target, `${where} ${target.refId}`);
    }
    checked += 1;
  }
}
if (![...validators.values()].some(Boolean)) {
  console.log('no type was found to check with');
  found += 1;
}
console.error(`${checked} panels, ${[...validators.entries()].filter(([, v]) => v).map(([k]) => k).join('; ')}`);
process.exit(found > 0 ? 1 : 0);
