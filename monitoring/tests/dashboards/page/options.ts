// The registries that Grafana's core fills: field options and transformations.

import {
  booleanOverrideProcessor,
  dataLinksOverrideProcessor,
  displayNameOverrideProcessor,
  FieldConfigOptionsRegistry,
  FieldConfigPropertyItem,
  identityOverrideProcessor,
  numberOverrideProcessor,
  Registry,
  standardFieldConfigEditorRegistry,
  standardTransformers,
  standardTransformersRegistry,
  stringOverrideProcessor,
  thresholdsOverrideProcessor,
  unitOverrideProcessor,
  valueMappingsOverrideProcessor,
} from '@grafana/data';

type Process = FieldConfigPropertyItem['process'];

const standard: Record<string, Process> = {
  unit: unitOverrideProcessor as Process,
  min: numberOverrideProcessor as Process,
  max: numberOverrideProcessor as Process,
  decimals: numberOverrideProcessor as Process,
  displayName: displayNameOverrideProcessor as Process,
  noValue: stringOverrideProcessor as Process,
  thresholds: thresholdsOverrideProcessor as Process,
  mappings: valueMappingsOverrideProcessor as Process,
  links: dataLinksOverrideProcessor as Process,
  color: identityOverrideProcessor as Process,
  filterable: booleanOverrideProcessor as Process,
};

// Of the graph and the table: what is not listed is not taken over.
const custom = (
  'drawStyle lineWidth lineStyle lineInterpolation fillOpacity gradientMode showPoints pointSize spanNulls stacking ' +
  'thresholdsStyle axisPlacement axisSoftMin axisSoftMax axisLabel axisColorMode axisGridShow axisWidth barAlignment ' +
  'scaleDistribution hideFrom width align cellOptions'
).split(' ');

const item = (id: string, path: string, process: Process, isCustom: boolean) =>
  ({
    id: isCustom ? `custom.${id}` : id,
    path,
    name: id,
    isCustom,
    process,
    override: () => null,
    editor: () => null,
    shouldApply: () => true,
  }) as unknown as FieldConfigPropertyItem;

const items = [
  ...Object.entries(standard).map(([id, process]) => item(id, id, process, false)),
  ...custom.map((id) => item(id, id, identityOverrideProcessor as Process, true)),
];

export const fieldOptions: FieldConfigOptionsRegistry = new Registry(() => items);

export function fillRegistries() {
  standardFieldConfigEditorRegistry.setInit(() => items);
  // One of them is exported under two names.
  const transformers = new Map(Object.values(standardTransformers).map((transformer) => [transformer.id, transformer]));
  standardTransformersRegistry.setInit(() =>
    [...transformers.values()].map((transformation) => ({
      id: transformation.id,
      name: transformation.name,
      editor: () => null,
      transformation,
    })) as never
  );
}
