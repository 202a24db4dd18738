// weights_load.mjs: loads a model, by node-llama-cpp's public API, or drops it, in turn, whenever a line comes on its standard input. A
// load is answered with a line of JSON (seconds from its start until the model is ready, and CPU seconds of the process in it), a
// drop with `gone`. Environment: MODEL (a GGUF file), PACKAGES (the folder with node_modules).
import {createRequire} from "node:module";
import {pathToFileURL} from "node:url";
import process from "node:process";
import readline from "node:readline";

const {MODEL, PACKAGES} = process.env;
const findPackage = createRequire(pathToFileURL(PACKAGES + "/"));
const {getLlama} = await import(pathToFileURL(findPackage.resolve("node-llama-cpp")).href);
const llama = await getLlama({gpu: "cuda", build: "never"});

let model = null;
for await (const _ of readline.createInterface({input: process.stdin})) {
    if (model !== null) {
        await model.dispose();
        model = null;
        console.log("gone");
        continue;
    }
    const cpu = process.cpuUsage(), start = process.hrtime.bigint();
    model = await llama.loadModel({modelPath: MODEL});
    const wall = Number(process.hrtime.bigint() - start) / 1e9, used = process.cpuUsage(cpu);
    console.log(JSON.stringify({wall, cpu: (used.user + used.system) / 1e6}));
}
await model?.dispose();
await llama.dispose();
process.exit(0);
