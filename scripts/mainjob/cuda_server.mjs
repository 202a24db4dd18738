// cuda_server.mjs: a small HTTP front around node-llama-cpp's public API, as a server for many tenants works.
//
// GET /health answers 200 once a model is loaded. POST /generate {prompt, tokens, context} answers {content}: the request
// gets a context of its own, `context` tokens long, generates greedily and frees the context. After every RELOAD_EVERY
// requests the model is dropped and loaded again: requests that are already inside finish first, later ones wait.
// Environment: PORT, MODEL (a GGUF file), PACKAGES (the folder with node_modules), RELOAD_EVERY, GPU (cuda; "off" for tests).
import http from "node:http";
import {createRequire} from "node:module";
import {pathToFileURL} from "node:url";
import process from "node:process";

const {PORT, MODEL, PACKAGES, RELOAD_EVERY = "40", GPU = "cuda"} = process.env;
const findPackage = createRequire(pathToFileURL(PACKAGES + "/"));
const {getLlama} = await import(pathToFileURL(findPackage.resolve("node-llama-cpp")).href);

const llama = await getLlama({gpu: GPU === "off" ? false : GPU, build: "never"});
let model = await llama.loadModel({modelPath: MODEL});
let inside = 0;                      // requests that use the model now
let served = 0;
let reloading = null;                // a promise while the model is being replaced
let lastOneOut = null;               // called when the last request inside has left

async function replaceModel() {
    if (inside > 0)
        await new Promise((resolve) => { lastOneOut = resolve; });
    await model.dispose();
    model = await llama.loadModel({modelPath: MODEL});
    reloading = null;
}

async function enter() {
    while (reloading !== null)
        await reloading;
    inside++;
    if (++served % Number(RELOAD_EVERY) === 0)
        reloading = replaceModel();
}

function leave() {
    inside--;
    if (inside === 0 && lastOneOut !== null) {
        lastOneOut();
        lastOneOut = null;
    }
}

// An end-of-text token is kept and does not stop us: every run of a request does the same work.
async function generate({prompt, tokens, context: contextSize}) {
    const context = await model.createContext({contextSize, sequences: 1});
    try {
        const sequence = context.getSequence();
        const input = model.tokenize(prompt).slice(0, contextSize - tokens - 1);
        const output = [];
        for await (const token of sequence.evaluate(input, {temperature: 0, yieldEogToken: true})) {
            output.push(token);
            if (output.length >= tokens)
                break;
        }
        if (output.length !== tokens)
            throw new Error(`${output.length} tokens instead of ${tokens}`);
        return model.detokenize(output);
    } finally {
        await context.dispose();
    }
}

async function answer(request, response) {
    const parts = [];
    for await (const part of request)
        parts.push(part);
    const body = JSON.parse(Buffer.concat(parts).toString());
    await enter();
    try {
        const content = await generate(body);
        response.writeHead(200, {"Content-Type": "application/json"});
        response.end(JSON.stringify({content}));
    } finally {
        leave();
    }
}

const server = http.createServer((request, response) => {
    if (request.method === "GET" && request.url === "/health")
        return response.end("ready\n");
    answer(request, response).catch((error) => {
        console.error(error);
        response.writeHead(500);
        response.end(String(error?.message ?? error));
    });
});

process.once("SIGTERM", async () => {
    await new Promise((resolve) => server.close(resolve));      // requests inside finish first
    await reloading;                                            // and so does a replacement of the model
    await model.dispose();
    await llama.dispose();
    process.exit(0);
});
server.listen(Number(PORT), "127.0.0.1", () => console.log(`listening on ${PORT}, gpu ${llama.gpu}`));
