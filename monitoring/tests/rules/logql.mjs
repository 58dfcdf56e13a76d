// Reads a JSON list of LogQL queries, prints a JSON list of those that do not parse.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const { parser } = createRequire(process.argv[2] + '/')('@grafana/lezer-logql');
const broken = JSON.parse(readFileSync(0, 'utf8')).filter((query) => {
  let wrong = false;
  parser.parse(query).iterate({ enter: (node) => { wrong ||= node.type.isError; } });
  return wrong;
});
console.log(JSON.stringify(broken));
