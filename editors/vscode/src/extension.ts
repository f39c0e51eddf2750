// Starts the language server; everything else is the server's (vlang/editor of rspec-verify).
import * as path from "node:path";
import * as vscode from "vscode";
import { LanguageClient } from "vscode-languageclient/node";

let client: LanguageClient | undefined;

/** The server's command: a path with a folder in it is looked for from the folder that is open. */
export function command(setting: readonly string[], folder: string | undefined): [string, string[]] {
  const [first, ...rest] = setting.length > 0 ? setting : ["vrun", "lsp"];
  const local = folder !== undefined && /[\\/]/.test(first) && !path.isAbsolute(first);
  return [local ? path.join(folder, first) : first, rest];
}

export async function activate(context: vscode.ExtensionContext): Promise<void> {
  const folder = vscode.workspace.workspaceFolders?.[0]?.uri.fsPath;
  const [run, args] = command(vscode.workspace.getConfiguration("rspec").get<string[]>("command") ?? [], folder);
  client = new LanguageClient(
    "rspec",
    "rspec",
    { command: run, args, options: { cwd: folder } },
    { documentSelector: [{ language: "rspec" }] },
  );
  context.subscriptions.push(client);
  try {
    await client.start();
  } catch {
    void vscode.window.showErrorMessage(
      `rspec: ${[run, ...args].join(" ")} does not start. Install it (pip install 'rspec-verify[lsp]'), or set rspec.command.`,
    );
  }
}

export function deactivate(): Thenable<void> | undefined {
  return client?.stop();
}
