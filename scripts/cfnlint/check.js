// Checks CloudFormation templates: node scripts/cfnlint/check.js DIRECTORY TEMPLATE…
// The directory is what scripts/cfnlint/install prints.
const directory = process.argv[2]
const load = (name) => require(`${directory}/node_modules/${name}`)

load("cfn-lint/lib/resourcesSpec").extendSpecification(load("@aws-cdk/cfnspec/spec/specification.json"))
const { openFile } = load("cfn-lint/lib/parser")
const { validateJsonObject } = load("cfn-lint")

let faults = 0
for (const file of process.argv.slice(3)) {
  const template = openFile(file)
  delete template.Rules // of which the linter knows nothing
  const { errors } = validateJsonObject(template, {})
  for (const fault of [...errors.crit, ...errors.warn]) {
    console.log(`${file}: ${fault.resource}: ${fault.message}`)
    faults++
  }
}
process.exit(faults > 0 ? 1 : 0)
