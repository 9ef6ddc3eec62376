// Compiles a folder of Python sources with the CPython of the pyodide package (WebAssembly), in place.
// Bytecode does not depend on the processor, only on Python's minor version.
//
// node compile.mjs <pyodide package> <folder> <folder in Lambda> <major.minor>
import { pathToFileURL } from "node:url";

const [pyodide, folder, deployed, version] = process.argv.slice(2);
const { loadPyodide } = await import(pathToFileURL(`${pyodide}/pyodide.mjs`).href);
const python = await loadPyodide({ env: { PYTHONHASHSEED: "0" } });
python.mountNodeFS("/asset", folder);
python.globals.set("deployed", deployed);
const found = python.runPython("import sys; '%d.%d' % sys.version_info[:2]");
if (found !== version) {
  console.error(`pyodide is Python ${found}, the functions run on ${version}`);
  process.exit(1);
}
const compiled = python.runPython(`
import compileall, py_compile
compileall.compile_dir(
    "/asset", quiet=1, force=True, stripdir="/asset", prependdir=deployed, optimize=[0, 2],
    invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
)
`);
process.exit(compiled ? 0 : 1);
