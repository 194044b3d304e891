/** The thread that parses one long document: a `DocumentQuestion` in, its `DocumentAnswer` out. */
import { parentPort, workerData } from "node:worker_threads"
import { answerTo, type DocumentQuestion } from "./document.ts"

parentPort?.postMessage(answerTo(workerData as DocumentQuestion))
