// Parses LogQL with Grafana's grammar: node logql.mjs MODULES QUERY...
// Prints each query that is wrong, and where.

import { createRequire } from 'node:module';
import path from 'node:path';

const [modules, ...queries] = process.argv.slice(2);
const require = createRequire(path.join(modules, 'package.json'));
const { parser } = require('@grafana/lezer-logql');

let wrong = 0;
for (const query of queries) {
  parser.parse(query).iterate({
    enter(node) {
      if (node.type.isError) {
        console.log(`${query}: wrong at ${node.from}`);
        wrong += 1;
      }
    },
  });
}
process.exit(wrong > 0 ? 1 : 0);
