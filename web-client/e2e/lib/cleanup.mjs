// What a scenario started ends with it, in the reverse order, also when it failed.

/** Things to undo. `defer` notes one; `run` undoes them all and then throws the first error, if any. */
export class Cleanup {
  #undo = [];

  defer(undo) {
    this.#undo.push(undo);
  }

  async run() {
    const errors = [];
    for (const undo of this.#undo.splice(0).reverse())
      await Promise.resolve()
        .then(undo)
        .catch((error) => errors.push(error));
    if (errors.length > 0) throw errors[0];
  }
}
